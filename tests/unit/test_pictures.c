/* Image files of others: read as PIL reads them, refused where it would guess, and never believed. */
#include "base/log.h"
#include "base/memory.h"
#include "check.h"
#include "io/h5.h"
#include "io/picture.h"
#include "io/png.h"
#include "io/zip_stored.h"
#include "scratch.h"

#include <png.h>

static dmq_h5 *golden;

static uint8_t *bytes_of(size_t *size, const char *group, const char *name)
{
    char path[64];
    dmq_h5_info info;
    uint8_t *bytes = NULL;

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    assert_int_equal(dmq_h5_shape(&info, golden, path), DMQ_OK);
    *size = (size_t)info.count;
    assert_int_equal(dmq_alloc((void **)&bytes, *size, 1), DMQ_OK);
    assert_int_equal(dmq_h5_read_u8(bytes, golden, path, DMQ_DIMS(-1)), DMQ_OK);
    return bytes;
}

static const char *const readable[] = { "png_rgb",        "png_rgba",     "png_grey",
                                        "png_grey_alpha", "png_palette",  "png_palette_4",
                                        "png_bits",       "jpeg_420",     "jpeg_444",
                                        "jpeg_422",       "jpeg_grey",    "jpeg_progressive",
                                        "webp_lossy",     "webp_lossless" };
enum { N_READABLE = sizeof readable / sizeof *readable };

static void levels_are_pils(void **state)
{
    (void)state;
    for (int i = 0; i < N_READABLE; i++) {
        char name[64];
        size_t size, n;
        uint8_t *file = bytes_of(&size, readable[i], "file"),
                *rgb = bytes_of(&n, readable[i], "rgb");
        int32_t wh[2];
        int w, h;
        dmq_picture p;

        (void)snprintf(name, sizeof name, "%s/size", readable[i]);
        assert_int_equal(dmq_h5_read_i32(wh, golden, name, DMQ_DIMS(2)), DMQ_OK);
        put(in_folder("picture"), file, size);
        assert_int_equal(dmq_picture_size(&w, &h, in_folder("picture")), DMQ_OK);
        assert_int_equal(w, wh[0]);
        assert_int_equal(h, wh[1]);
        if (dmq_picture_load(&p, in_folder("picture")) != DMQ_OK)
            fail_msg("%s: %s", readable[i], dmq_message());
        assert_int_equal(p.width, wh[0]);
        assert_int_equal(p.height, wh[1]);
        assert_int_equal(n, (size_t)w * (size_t)h * 3);
        for (size_t k = 0; k < n; k++) {
            if (p.rgb[k] != rgb[k])
                fail_msg("%s: level %zu is %d, PIL's %d", readable[i], k, p.rgb[k], rgb[k]);
        }
        dmq_picture_release(&p);
        dmq_free(file);
        dmq_free(rgb);
    }
}

static void what_would_be_guessed_is_refused(void **state)
{
    static const struct {
        const char *name, *said;
    } cases[] = { { "no_png_alpha", "is transparent (alpha" },
                  { "no_png_key", "is transparent (alpha 0 of 255)" },
                  { "no_png_16", "has 16 bits a channel, 8 are read" },
                  { "no_jpeg_cmyk", "(CMYK)" },
                  { "no_webp_alpha", "is transparent (alpha" },
                  { "no_webp_moves", "is an animation" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        uint8_t *file = bytes_of(&size, cases[i].name, "file");
        dmq_picture p;

        put(in_folder("refused.img"), file, size);
        assert_int_equal(dmq_picture_load(&p, in_folder("refused.img")), DMQ_EDATA);
        if (!strstr(dmq_message(), cases[i].said) || !strstr(dmq_message(), "refused.img: "))
            fail_msg("%s: said %s", cases[i].name, dmq_message());
        assert_null(p.rgb);
        dmq_free(file);
    }
}

/* Rows of an interlaced picture lie in seven passes; libpng is asked to write one. */
static void interlaced_pictures_are_read(void **state)
{
    enum { W = 13, H = 11 };
    uint8_t rgb[H][W][3];
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    FILE *f = fopen(in_folder("interlaced.png"), "wb");
    png_bytep rows[H];
    dmq_picture p;

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < H * W * 3; i++)
        (&rgb[0][0][0])[i] = (uint8_t)(i * 37 + i / 7);
    for (int y = 0; y < H; y++)
        rows[y] = &rgb[y][0][0];
    png_init_io(png, f);
    png_set_IHDR(png, info, W, H, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(dmq_picture_load(&p, in_folder("interlaced.png")), DMQ_OK);
    assert_memory_equal(p.rgb, rgb, sizeof rgb);
    dmq_picture_release(&p);
}

static void damaged_files_never_crash(void **state)
{
    dmq_picture p;
    int w, h;

    (void)state;
    dmq_log_fd_set(-1); /* [damaged-jpeg], a few hundred times */
    for (int i = 0; i < N_READABLE; i++) {
        size_t size;
        uint8_t *file = bytes_of(&size, readable[i], "file");
        int cut = 0, found = 0;

        for (size_t n = 0; n < size; n += n < 64 || n > size - 64 ? 1 : 7) {
            put(in_folder("cut.img"), file, n);
            if (dmq_picture_load(&p, in_folder("cut.img")) != DMQ_EDATA)
                fail_msg("%s: %zu of %zu bytes are read", readable[i], n, size);
            cut += strstr(dmq_message(), "cut.img: is cut short") != NULL;
            (void)dmq_picture_size(&w, &h, in_folder("cut.img"));
        }
        assert_true(cut > 64);
        for (size_t k = 0; k < size; k += 3) {
            put_flipped(in_folder("flip.img"), (char *)file, size, k, 0x5a);
            if (dmq_picture_load(&p, in_folder("flip.img")) != DMQ_OK)
                found++;
            dmq_picture_release(&p);
        }
        assert_true(found > 4);
        dmq_free(file);
    }
    dmq_log_fd_set(2);
}

/* The header of a PNG of w x h with its checksum, and the beginning of its data. */
static void put_header(const char *path, uint32_t w, uint32_t h)
{
    uint8_t b[41] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    uint32_t crc;

    for (int i = 0; i < 4; i++) {
        b[16 + i] = (uint8_t)(w >> (24 - 8 * i));
        b[20 + i] = (uint8_t)(h >> (24 - 8 * i));
    }
    b[24] = 8;
    b[25] = 2;
    crc = dmq_crc32(0, b + 12, 17);
    for (int i = 0; i < 4; i++)
        b[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    memcpy(b + 33, "\0\0\0\x10IDAT", 8);
    put(path, b, sizeof b);
}

static void claims_are_not_believed(void **state)
{
    dmq_picture p;
    int w, h;

    (void)state;
    put_header(in_folder("large.png"), 30000, 30000);
    assert_int_equal(dmq_picture_load(&p, in_folder("large.png")), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "large.png: says that it is 30000x30000: at most "));
    put_header(in_folder("large.png"), 2000000000, 1);
    assert_int_equal(dmq_picture_size(&w, &h, in_folder("large.png")), DMQ_EDATA);
    put_header(in_folder("short.png"), 100, 100);
    assert_int_equal(dmq_picture_load(&p, in_folder("short.png")), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "short.png: is cut short"));
    put(in_folder("empty"), "", 0);
    assert_int_equal(dmq_picture_load(&p, in_folder("empty")), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "empty: is empty"));
    put(in_folder("text.png"), "hello there", 11);
    assert_int_equal(dmq_picture_size(&w, &h, in_folder("text.png")), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "text.png: is neither a PNG nor a JPEG nor a WebP"));
    assert_int_equal(dmq_picture_load(&p, in_folder("none.png")), DMQ_ENOINPUT);
}

/* A profile in front of the header, larger than what is read for the size at first. */
static void large_profiles_are_passed_over(void **state)
{
    size_t size;
    uint8_t *file = bytes_of(&size, "jpeg_420", "file"), *long_one = NULL;
    int w = 0, h = 0;

    (void)state;
    assert_int_equal(dmq_alloc((void **)&long_one, size + 2 * 65537, 1), DMQ_OK);
    memcpy(long_one, file, 2);
    for (int i = 0; i < 2; i++)
        memcpy(long_one + 2 + i * 65537, "\xff\xe2\xff\xff", 4);
    memcpy(long_one + 2 + 2 * 65537, file + 2, size - 2);
    put(in_folder("profile.jpg"), long_one, size + 2 * 65537);
    assert_int_equal(dmq_picture_size(&w, &h, in_folder("profile.jpg")), DMQ_OK);
    assert_int_equal(w, 23);
    assert_int_equal(h, 17);
    dmq_free(file);
    dmq_free(long_one);
}

static int set_up(void **state)
{
    golden = check_golden_open("pictures");
    return scratch_make(state);
}

static int tear_down(void **state)
{
    dmq_h5_close(golden);
    return scratch_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_pils),
        cmocka_unit_test(what_would_be_guessed_is_refused),
        cmocka_unit_test(interlaced_pictures_are_read),
        cmocka_unit_test(damaged_files_never_crash),
        cmocka_unit_test(claims_are_not_believed),
        cmocka_unit_test(large_profiles_are_passed_over),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
