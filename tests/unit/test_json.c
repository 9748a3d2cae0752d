/* JSON and PNG. */
#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"
#include "io/json.h"
#include "io/png.h"
#include "scratch.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <png.h>

/* ------------------------------------------------------------------ JSON */

static dmq_status build(dmq_json **out)
{
    static const double reals[3] = { 0.1, 3.2e-4, 1.0 };
    dmq_status st = DMQ_OK;
    dmq_json *root = NULL, *child, *list;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "z", "a \"b\"\n\x01"));
    DMQ_TRY(dmq_json_set_int(root, "n", INT64_MIN));
    DMQ_TRY(dmq_json_set_object(&child, root, "child"));
    DMQ_TRY(dmq_json_set_real(child, "nan", (double)NAN));
    DMQ_TRY(dmq_json_set_bool(child, "yes", true));
    DMQ_TRY(dmq_json_set_reals(child, "reals", reals, 3));
    DMQ_TRY(dmq_json_set_array(&list, root, "list"));
    DMQ_TRY(dmq_json_add_int(list, 1));
    DMQ_TRY(dmq_json_add_text(list, NULL));
    DMQ_TRY(dmq_json_add_object(&child, list));
    DMQ_TRY(dmq_json_set_text(child, "a", "b"));
    DMQ_TRY(dmq_json_add_array(NULL, list));
    *out = root;
    root = NULL;
done:
    dmq_json_destroy(root);
    return st;
}

static void documents_are_written_in_order(void **state)
{
    dmq_json *root, *back;
    char *text, *again;

    (void)state;
    assert_int_equal(build(&root), DMQ_OK);
    assert_int_equal(dmq_json_dump(&text, root, 0), DMQ_OK);
    assert_string_equal(text, "{\"z\": \"a \\\"b\\\"\\n\\u0001\", \"n\": -9223372036854775808, "
                              "\"child\": {\"nan\": null, \"yes\": true, "
                              "\"reals\": [0.1, 0.00032, 1.0]}, "
                              "\"list\": [1, null, {\"a\": \"b\"}, []]}");
    assert_int_equal(dmq_json_save(in_folder("a.json"), root), DMQ_OK);
    assert_int_equal(dmq_json_load(&back, in_folder("a.json")), DMQ_OK);
    assert_int_equal(dmq_json_dump(&again, back, 0), DMQ_OK);
    assert_string_equal(again, text);
    dmq_free(again);
    assert_int_equal(dmq_json_dump(&again, dmq_json_get(back, "list"), 2), DMQ_OK);
    assert_string_equal(again, "[\n  1,\n  null,\n  {\n    \"a\": \"b\"\n  },\n  []\n]");
    dmq_free(again);
    dmq_free(text);
    assert_string_equal(dmq_json_text(dmq_json_find(back, "z"), NULL), "a \"b\"\n\x01");
    assert_true(dmq_json_int(dmq_json_get(back, "n"), 0) == INT64_MIN);
    assert_true(dmq_json_real(dmq_json_at(dmq_json_find(back, "child.reals"), 1), 0) == 3.2e-4);
    assert_true(dmq_json_bool(dmq_json_find(back, "child.yes"), false));
    assert_true(dmq_json_real(dmq_json_find(back, "child.nope.x"), 7.0) == 7.0);
    assert_int_equal(dmq_json_count(dmq_json_get(back, "list")), 4);
    assert_int_equal(dmq_json_kind_of(dmq_json_find(back, "child.nan")), DMQ_JSON_NULL);
    assert_int_equal(dmq_json_set_text(back, "bad", "\xC0\x80"), DMQ_EDATA);
    dmq_json_unset(back, "z");
    assert_null(dmq_json_get(back, "z"));
    dmq_json_destroy(back);
    dmq_json_destroy(root);
}

static void wrong_json_is_refused(void **state)
{
    dmq_json *root;

    (void)state;
    assert_int_equal(dmq_file_write_text(in_folder("bad.json"), "{\"a\": 1,\n \"b\": }"), DMQ_OK);
    assert_int_equal(dmq_json_load(&root, in_folder("bad.json")), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "bad.json:2:"));
    assert_int_equal(dmq_json_parse(&root, "{\"a\":1,\"a\":2}", 13, "x"), DMQ_EDATA);
    assert_int_equal(dmq_json_load(&root, in_folder("nope.json")), DMQ_ENOINPUT);
}

static void events_survive_a_cut_line(void **state)
{
    const char *path = in_folder("events.jsonl");
    dmq_json *event, *all;
    int broken;

    (void)state;
    assert_int_equal(dmq_json_object(&event), DMQ_OK);
    assert_int_equal(dmq_json_set_int(event, "step", 1), DMQ_OK);
    assert_int_equal(dmq_json_append_line(path, event), DMQ_OK);
    assert_int_equal(dmq_file_append(path, "{\"step\": 2, \"lo", 15), DMQ_OK);
    assert_int_equal(dmq_json_set_int(event, "step", 3), DMQ_OK);
    assert_int_equal(dmq_json_append_line(path, event), DMQ_OK);
    assert_int_equal(dmq_json_load_lines(&all, &broken, path), DMQ_OK);
    assert_int_equal(broken, 1);
    assert_int_equal(dmq_json_count(all), 2);
    assert_int_equal(dmq_json_int(dmq_json_get(dmq_json_at(all, 1), "step"), 0), 3);
    dmq_json_destroy(all);
    dmq_json_destroy(event);
}

static void every_failed_allocation_is_clean(void **state)
{
    dmq_status st = DMQ_ENOMEM;
    int n;

    (void)state;
    for (n = 1; st != DMQ_OK && n < 1000; n++) {
        dmq_json *root = NULL, *back = NULL;
        char *text = NULL;

        dmq_alloc_fail_at(n);
        st = build(&root);
        if (st == DMQ_OK)
            st = dmq_json_dump(&text, root, 0);
        if (st == DMQ_OK)
            st = dmq_json_parse(&back, text, strlen(text), "text");
        dmq_alloc_fail_at(0);
        dmq_free(text);
        dmq_json_destroy(root);
        dmq_json_destroy(back);
        if (st != DMQ_OK && st != DMQ_ENOMEM)
            fail_msg("allocation %d: %s", n, dmq_message());
    }
    assert_true(n > 30 && n < 1000);
}

static void utf8_and_base64(void **state)
{
    dmq_text text = { 0 };

    (void)state;
    assert_true(dmq_text_is_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
    assert_false(dmq_text_is_utf8("\xC3"));
    assert_false(dmq_text_is_utf8("\xED\xA0\x80"));
    assert_false(dmq_text_is_utf8("\xF5\x80\x80\x80"));
    dmq_text_add_base64(&text, "Man", 3);
    dmq_text_add_base64(&text, "Ma", 2);
    dmq_text_add_base64(&text, "M", 1);
    assert_string_equal(text.data, "TWFuTWE=TQ==");
    dmq_text_release(&text);
}

/* ------------------------------------------------------------------ PNG */

static void pixels_round_and_clamp(void **state)
{
    (void)state;
    assert_int_equal(dmq_png_byte(-1.0F), 0);
    assert_int_equal(dmq_png_byte(1.0F), 255);
    assert_int_equal(dmq_png_byte(0.0F), 128); /* 127.5 goes up */
    assert_int_equal(dmq_png_byte(-7.0F), 0);
    assert_int_equal(dmq_png_byte(7.0F), 255);
    assert_int_equal(dmq_png_byte(NAN), 0);
    for (int i = 0; i < 256; i++)
        assert_int_equal(dmq_png_byte((float)i / 127.5F - 1.0F), i);
}

static void grids_are_laid_out_and_readable(void **state)
{
    const float images[3 * 1 * 2 * 3] = { -1, -1, -1, 1,  1,  1, 1, -1, -1,
                                          -1, 1,  -1, -1, -1, 1, 0, 0,  0 };
    const dmq_png_text texts[] = { { "Software", "dmq" }, { "dmq seed", "1234" } };
    dmq_picture p;
    png_image png;
    uint8_t *bytes, *again, rgb[3 * 10 * 6];
    size_t size, size_again;

    (void)state;
    assert_int_equal(dmq_png_grid(&p, images, 3, 1, 2, 3, 2, 1, 1), DMQ_OK);
    assert_int_equal(p.width, 2 * 2 + 3);
    assert_int_equal(p.height, 2 * 1 + 3);
    assert_int_equal(p.rgb[0], 255);                                 /* ground */
    assert_int_equal(p.rgb[3 * (7 * 1 + 1)], 0);                     /* first image, black */
    assert_memory_equal(p.rgb + 3 * (7 * 1 + 4), "\xFF\0\0", 3);     /* second, red */
    assert_memory_equal(p.rgb + 3 * (7 * 3 + 1), "\0\0\xFF", 3);     /* third, second row */
    assert_memory_equal(p.rgb + 3 * (7 * 3 + 4), "\xFF\xFF\xFF", 3); /* none there */
    assert_int_equal(dmq_png_encode(&bytes, &size, &p, texts, 2), DMQ_OK);
    assert_int_equal(dmq_png_encode(&again, &size_again, &p, texts, 2), DMQ_OK);
    assert_int_equal(size, size_again);
    assert_memory_equal(bytes, again, size);
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    assert_int_equal(png_image_begin_read_from_memory(&png, bytes, size), 1);
    png.format = PNG_FORMAT_RGB;
    assert_int_equal(png.width, 7);
    assert_int_equal(png_image_finish_read(&png, NULL, rgb, 0, NULL), 1);
    assert_memory_equal(rgb, p.rgb, 3 * 7 * 5);
    assert_int_equal(dmq_png_save(in_folder("a.png"), &p, NULL, 0), DMQ_OK);
    assert_true(dmq_file_exists(in_folder("a.png")));
    dmq_free(again);
    dmq_free(bytes);
    dmq_picture_release(&p);
    assert_int_equal(dmq_png_grid(&p, images, 3, 1, 2, 1, 0, 0, 3), DMQ_OK);
    assert_int_equal(p.width, 12); /* two columns of 2 pixels, each drawn 3 x 3 */
    dmq_picture_release(&p);
    assert_int_equal(dmq_png_grid(&p, images, 3, 1, 2, 2, 0, 0, 3), DMQ_ESHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_written_in_order),
        cmocka_unit_test(wrong_json_is_refused),
        cmocka_unit_test(events_survive_a_cut_line),
        cmocka_unit_test(every_failed_allocation_is_clean),
        cmocka_unit_test(utf8_and_base64),
        cmocka_unit_test(pixels_round_and_clamp),
        cmocka_unit_test(grids_are_laid_out_and_readable),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
