/* What the fuzzers begin with: seeds FOLDER writes one folder of small files for each; equal at every run. */
#include "../unit/torch_bytes.h"
#include "io/file.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>

static bytes pickle, file;
static const char *folder;

static void must(dmq_status st)
{
    if (st != DMQ_OK) {
        (void)fprintf(stderr, "seeds: %s\n", dmq_message());
        exit(1);
    }
}

static void write_bytes(const char *target, const char *name, const bytes *b)
{
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/%s", folder, target);
    must(dmq_folder_create(path));
    (void)snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    must(dmq_file_write(path, b->data, b->n));
}

/* One pickle alone, in a ZIP archive and in a legacy file. */
static void write_pickle(const char *name, size_t numbers)
{
    write_bytes("pickle", name, &pickle);
    file.n = 0;
    torch_zip(&file, &pickle, numbers);
    write_bytes("torch_zip", name, &file);
    file.n = 0;
    torch_legacy(&file, &pickle, &(legacy_told){ .numbers = numbers }, (int64_t)numbers);
    write_bytes("torch_legacy", name, &file);
}

static void pickles(void)
{
    static const char values[] =
        "\x80\x04\x95\x09\0\0\0\0\0\0\0]\x94(NJ\1\2\3\4K\1M\1\1\x8a\2\1\2\x88\x89"
        "G?\xf0\0\0\0\0\0\0\x8c\1a\x94\x8e\1\0\0\0\0\0\0\0zB\1\0\0\0zC\1z"
        "U\1yT\1\0\0\0x\x8f(K\1K\2\x90(K\1\x91)K\1\x85K\1K\2\x86h\0h\1e.";
    const tensor_told w = {
        .numel = 4, .first = 1, .rank = 2, .size = { 1, 2 }, .stride = { 2, 1 }
    };
    const tensor_told v = { .numel = 4, .view = 1, .view_first = 1, .view_size = 2 };

    pickle.n = 0;
    pickle_of_tensor(&pickle, &w);
    write_pickle("tensor", 4);
    pickle.n = 0;
    pickle_of_tensor(&pickle, &v);
    write_pickle("view", 4);
    pickle.n = 0;
    bytes_add(&pickle, values, sizeof values - 1);
    write_bytes("pickle", "values", &pickle);
    pickle.n =
        0; /* [{"model": {...}}, 3, os.system("id"), OrderedDict([["a", w]]), Parameter(w)] */
    pickle_raw(&pickle, "\x80\x02]q\x01(}");
    pickle_text(&pickle, "model");
    pickle_raw(&pickle, "}(");
    pickle_text(&pickle, "module.a");
    pickle_tensor(&pickle, &w);
    pickle_text(&pickle, "b");
    pickle_tensor(&pickle, &v);
    pickle_raw(&pickle, "usK\3");
    pickle_global(&pickle, "os", "system");
    pickle_text(&pickle, "id");
    pickle_raw(&pickle, "\x85R}b");
    pickle_global(&pickle, "collections", "OrderedDict");
    pickle_raw(&pickle, "]]");
    pickle_text(&pickle, "a");
    pickle_raw(&pickle, "a");
    pickle_tensor(&pickle, &w);
    pickle_raw(&pickle, "aa\x85R");
    pickle_global(&pickle, "torch._utils", "_rebuild_parameter");
    pickle_tensor(&pickle, &w);
    pickle_raw(&pickle, "\x88\x86Rh\x01"
                        "e.");
    write_pickle("list", 4);
}

static void archives(void)
{
    zip_member member[] = {
        { .name = "a/data.pkl", .data = pickle.data },
        { .name = "a/data/0", .data = torch_numbers, .size = 16, .zip64 = 1 },
        { .name = "a/byteorder", .data = "little", .size = 6 },
    };

    pickle.n = 0;
    pickle_of_tensor(&pickle, &(tensor_told){ .numel = 4 });
    member[0].size = pickle.n;
    file.n = 0;
    zip_build(&file, member, 3, &(zip_end){ .zip64 = 1, .comment = "c" });
    write_bytes("torch_zip", "zip64", &file);
}

static void arrays(void)
{
    static const char head[] = "\x93NUMPY\x01\x00\x36\x00{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (2,), }";
    bytes array = { .n = 0 };
    zip_member member = { .name = "x.npy" };

    bytes_add(&array, head, sizeof head - 1);
    while (array.n < 10 + 0x36 - 1)
        pickle_raw(&array, " ");
    pickle_raw(&array, "\n");
    bytes_add(&array, torch_numbers, 8);
    write_bytes("npz", "array", &array);
    member.data = array.data;
    member.size = array.n;
    file.n = 0;
    zip_build(&file, &member, 1, &(zip_end){ 0 });
    write_bytes("npz", "archive", &file);
}

static void safetensors(void)
{
    static const char *const metadata[][2] = { { "format", "pt" } };
    const dmq_st_source tensor[] = {
        { "a", DMQ_ST_F32, 2, { 2, 2 }, torch_numbers },
        { "b", DMQ_ST_BF16, 1, { 3 }, torch_numbers },
        { "n", DMQ_ST_U8, 0, { 0 }, "x" },
    };
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/safetensors", folder);
    must(dmq_folder_create(path));
    (void)snprintf(path, sizeof path, "%s/safetensors/three", folder);
    must(dmq_safetensors_save(path, tensor, 3, metadata, 1));
    (void)snprintf(path, sizeof path, "%s/safetensors/none", folder);
    must(dmq_safetensors_save(path, NULL, 0, NULL, 0));
}

/* A database in pages of 512 bytes: two meta pages, two leaves with four records, a branch, and a large value. */
static void databases(void)
{
    enum { PAGE = 512, META = 16, LEAF = 2, BRANCH = 4, LARGE = 5, PAGES = 6 };
    static uint8_t db[PAGES * PAGE];
    bytes all = { 0 };

    for (int i = 0; i < PAGES; i++) {
        uint8_t *page = db + (size_t)i * PAGE, *meta = page + META;

        page[0] = (uint8_t)i;
        page[10] = i < 2 ? 8 : i < BRANCH ? 2 : i == BRANCH ? 1 : 4;
        page[12] = i < LARGE ? 20 : 1; /* two nodes, or one page */
        if (i >= 2 && i < LARGE) {
            page[16] = 100;
            page[18] = 150;
        }
        if (i >= 2)
            continue;
        memcpy(meta, "\xde\xc0\xef\xbe\1", 5);
        meta[25] = PAGE >> 8;
        meta[72 + 6] = 2;  /* deep */
        meta[72 + 32] = 4; /* records */
        meta[72 + 40] = BRANCH;
        meta[72 + 48] = LARGE;
        meta[72 + 56] = (uint8_t)(i + 1); /* transaction */
    }
    for (int i = 0; i < 4;
         i++) { /* size 3, key "a".."d", value "xyz"; the last one's lies on a page of its own */
        uint8_t *node = db + (size_t)(LEAF + i / 2) * PAGE + (i % 2 ? 150 : 100);

        node[0] = 3;
        node[6] = 1;
        node[8] = (uint8_t)('a' + i);
        memcpy(node + 9, "xyz", 3);
        if (i == 3) {
            node[0] = 200;
            node[4] = 1;
            memset(node + 9, 0, 3);
            node[9] = LARGE;
        }
    }
    for (int i = 0; i < 2; i++) {
        uint8_t *node = db + (size_t)BRANCH * PAGE + (i ? 150 : 100);

        node[0] = (uint8_t)(LEAF + i);
        node[6] = (uint8_t)i;
        node[8] = 'c';
    }
    bytes_add(&all, db, sizeof db);
    write_bytes("lmdb", "six_pages", &all);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "seeds FOLDER\n");
        return 64;
    }
    folder = argv[1];
    pickles();
    archives();
    arrays();
    safetensors();
    databases();
    return 0;
}
