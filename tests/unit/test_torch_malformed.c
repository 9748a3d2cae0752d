/* PyTorch files that are wrong, or that want something: each is refused with a reason, or does no harm. */
#include "scratch.h"

#include "io/checkpoint.h"
#include "torch_bytes.h"

static bytes pickle, file; /* too large for a stack */
static int cases;

/* The checkpoint that lies in `file`. */
static dmq_status read_file(dmq_checkpoint **out, int strict)
{
    dmq_input *input;

    cases++;
    assert_int_equal(dmq_input_memory(&input, "memory", file.data, file.n), DMQ_OK);
    return dmq_checkpoint_read(out, input, strict);
}

static void must_refuse(const char *which, const char *said)
{
    dmq_checkpoint *c = NULL;
    dmq_status st = read_file(&c, 0);

    if (st != DMQ_EDATA || !strstr(dmq_message(), said) || !strstr(dmq_message(), "memory"))
        fail_msg("%s: status %d instead of a refusal (%s), said: %s", which, (int)st, said,
                 dmq_message());
    dmq_checkpoint_close(c);
}

/* It is read, has n tensors, and names `foreign` (NULL: nothing). */
static void must_read(const char *which, int n, const char *foreign)
{
    dmq_checkpoint *c = NULL;
    dmq_status st = read_file(&c, 0);
    float y[8] = { -1 };

    if (st != DMQ_OK)
        fail_msg("%s: refused: %s", which, dmq_message());
    assert_int_equal(dmq_checkpoint_table(c)->count, n);
    assert_int_equal(dmq_checkpoint_foreign(c)->count, foreign != NULL);
    if (foreign)
        assert_string_equal(dmq_checkpoint_foreign(c)->name[0], foreign);
    if (n > 0) {
        assert_int_equal(
            dmq_checkpoint_read_f32(y, c, dmq_table_find(dmq_checkpoint_table(c), "w")), DMQ_OK);
        assert_true(y[0] == 0.5F);
    }
    dmq_checkpoint_close(c);
    st = read_file(&c, 1);
    assert_int_equal(st, foreign ? DMQ_EDATA : DMQ_OK);
    dmq_checkpoint_close(c);
}

static void zip_of(size_t numbers)
{
    file.n = 0;
    torch_zip(&file, &pickle, numbers);
}

/* ------------------------------------------------------------------ opcodes */

#define P(opcodes) opcodes, sizeof opcodes - 1

static void opcodes_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *opcode;
        size_t size;
        const char *said;
    } of[] = {
        { P(""), "cut short" },
        { P("\x80"), "cut short" },
        { P("}."), "no pickle of protocol 2 to 5" },
        { P("\x80\x01}."), "no pickle of protocol 2 to 5" },
        { P("\x80\x06}."), "no pickle of protocol 2 to 5" },
        { P("\x80\x02"), "cut short" },
        { P("\x80\x02}"), "cut short" },
        { P("\x80\x02."), "ends with other than one value" },
        { P("\x80\x02}}."), "ends with other than one value" },
        { P("\x80\x02}(."), "ends with other than one value" },
        { P("\x80\x02N.N."), "behind the end of its data.pkl" },
        { P("\x80\x02"
            "0"),
          "from an empty stack" },
        { P("\x80\x02"
            "1"),
          "a mark that is not there" },
        { P("\x80\x02"
            "a"),
          "from an empty stack" },
        { P("\x80\x02Na"), "at the top of an empty stack" },
        { P("\x80\x02NNa"), "no list" },
        { P("\x80\x02}Na."), "no list" },
        { P("\x80\x02N(Ne."), "no list" },
        { P("\x80\x02]e."), "a mark that is not there" },
        { P("\x80\x02]NNs."), "no dictionary" },
        { P("\x80\x02}(Nu."), "a key without a value" },
        { P("\x80\x02}u."), "a mark that is not there" },
        { P("\x80\x02Ns."), "from an empty stack" },
        { P("\x80\x02\x8fN\x90."), "a mark that is not there" },
        { P("\x80\x02](N\x90."), "no list" },
        { P("\x80\x02t."), "a mark that is not there" },
        { P("\x80\x02NN\x87."), "from an empty stack" },
        { P("\x80\x02N(\x85."), "from an empty stack" },
        { P("\x80\x02h\x05."), "has not remembered" },
        { P("\x80\x02j\xff\xff\xff\xff."), "has not remembered" },
        { P("\x80\x02Nr\xff\xff\xff\x7f."), "out of reach" },
        { P("\x80\x02Nr\x00\x00\x00\x01."), "out of reach" },
        { P("\x80\x02q\x01."), "at the top of an empty stack" },
        { P("\x80\x02\x94."), "at the top of an empty stack" },
        { P("\x80\x02X\xff\x00\x00\x00"
            "abc"),
          "cut short" },
        { P("\x80\x02X\xff\xff\xff\xff"
            "abc"),
          "a text of more than 1 MiB" },
        { P("\x80\x02T\xff\xff\xff\xff"
            "abc"),
          "a text of more than 1 MiB" },
        { P("\x80\x02\x8d\x00\x00\x00\x00\x00\x00\x00\x80"
            "abc"),
          "a text of more than 1 MiB" },
        { P("\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\xff"
            "abc"),
          "a text of more than 1 MiB" },
        { P("\x80\x02\x8c\x09"
            "abc."),
          "cut short" },
        { P("\x80\x02"
            "B\xff\xff\x0f\x00"
            "abc."),
          "cut short" },
        { P("\x80\x02\x8a\xff\x01."), "cut short" },
        { P("\x80\x02\x8b\xff\xff\xff\xff."), "a number of more than 1 MiB" },
        { P("\x80\x02J\x01"), "cut short" },
        { P("\x80\x02G\x01\x02"), "cut short" },
        { P("\x80\x02"
            "cos"),
          "cut short" },
        { P("\x80\x02"
            "cos\nsys\xc3\xa4m\n."),
          "is not ASCII" },
        { P("\x80\x02]]\x93."), "not a text of at most 256 bytes" },
        { P("\x80\x02)\x93."), "from an empty stack" },
        { P("\x80\x02N)R."), "calls something that is no name" },
        { P("\x80\x02X\x06\x00\x00\x00"
            "system)R."),
          "calls something that is no name" },
        { P("\x80\x02"
            "cos\nsystem\nNR."),
          "no tuple" },
        { P("\x80\x02N}b."), "a state to something that is no object" },
        { P("\x80\x02]}b."), "a state to something that is no object" },
        { P("\x80\x02}b."), "at the top of an empty stack" },
        { P("\x80\x02Q."), "from an empty stack" },
        { P("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff}."), "a frame reaches beyond its end" },
        { P("\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}."), "a frame reaches beyond its end" },
        { P("\x80\x02}(X\x01\x00\x00\x00"
            "aNX\x01\x00\x00\x00"
            "aNu."),
          "holds the key \"a\" twice" },
        { P("\x80\x02}X\x01\x00\x00\x00"
            "aq\x01NshNs."),
          "has not remembered" },
        { P("\x80\x02}X\x01\x00\x00\x00"
            "aq\x01Nsh\x01Ns."),
          "holds the key \"a\" twice" },
        { P("\x80\x02"
            "ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00"
            "aNX\x01\x00\x00\x00"
            "aNu."),
          "holds the key \"a\" twice" },
        { P("\x80\x02"
            "cos\nsystem\nX\x02\x00\x00\x00"
            "id\x85R."),
          "holds an object of a class" },
        { P("\x80\x02N."), "holds an object of a class" },
    };
    char name[32];

    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        pickle.n = 0;
        bytes_add(&pickle, of[i].opcode, of[i].size);
        zip_of(4);
        (void)snprintf(name, sizeof name, "case %zu", i);
        must_refuse(name, of[i].said);
    }
}

static void opcodes_that_pytorch_does_not_write_are_refused(void **state)
{
    static const unsigned char of[] = { 'i',  'o',  'P',  0x82, 0x83, 0x84, 'I',  'L',
                                        'F',  'S',  'V',  'g',  'p',  'd',  'l',  '2',
                                        0x92, 0x96, 0x97, 0x98, 0x00, 0x99, 0xff, '\n' };
    char name[32];

    (void)state;
    for (size_t i = 0; i < sizeof of; i++) {
        pickle.n = 0;
        pickle_raw(&pickle, "\x80\x02](NN");
        bytes_add(&pickle, &of[i], 1);
        pickle_raw(&pickle, "1\n.");
        zip_of(4);
        (void)snprintf(name, sizeof name, "opcode 0x%02x", of[i]);
        must_refuse(name, "is not one that PyTorch writes");
    }
}

static void limits_hold(void **state)
{
    (void)state;
    pickle.n = 0;
    pickle_begin(&pickle);
    for (int i = 0; i < 1025; i++)
        pickle_raw(&pickle, "(");
    zip_of(4);
    must_refuse("marks", "more than 1024 marks");
    pickle.n = 0; /* a name that never ends */
    pickle_raw(&pickle, "\x80\x02"
                        "c");
    for (int i = 0; i < 300; i++)
        pickle_raw(&pickle, "x");
    pickle_raw(&pickle, "\ny\n.");
    zip_of(4);
    must_refuse("name", "longer than 256 bytes");
    pickle.n = 0; /* lists in lists */
    pickle_begin(&pickle);
    for (int i = 0; i < 5000; i++)
        pickle_raw(&pickle, "]");
    for (int i = 1; i < 5000; i++)
        pickle_raw(&pickle, "a");
    pickle_raw(&pickle, ".");
    zip_of(4);
    must_refuse("depth", "nested more than 32 deep");
    pickle.n = 0; /* ten times ten times ten ...: 10^20 values in 600 bytes */
    pickle_raw(&pickle, "\x80\x02]q\x01");
    for (unsigned char i = 1; i <= 20; i++) {
        const unsigned char next[] = { '0', ']', 'q', (unsigned char)(i + 1), '(' };
        const unsigned char get[] = { 'h', i };

        bytes_add(&pickle, next, sizeof next);
        for (int k = 0; k < 10; k++)
            bytes_add(&pickle, get, 2);
        pickle_raw(&pickle, "e");
    }
    pickle_raw(&pickle, ".");
    zip_of(4);
    must_refuse("laughs", "hold each other over and over");
}

/* ------------------------------------------------------------------ what does no harm */

/* {"w": tensor, "x": value} with the value's opcodes given. */
static void beside_a_tensor(const char *opcodes, size_t size)
{
    pickle.n = 0;
    pickle_begin(&pickle);
    pickle_raw(&pickle, "}q\x01(");
    pickle_text(&pickle, "w");
    pickle_tensor(&pickle, &(tensor_told){
                               .numel = 4, .first = 1, .rank = 1, .size = { 2 }, .stride = { 1 } });
    pickle_text(&pickle, "x");
    bytes_add(&pickle, opcodes, size);
    pickle_raw(&pickle, "u.");
    zip_of(4);
}

static void what_calls_and_loops_is_passed_over(void **state)
{
    (void)state;
    beside_a_tensor(P("N"));
    must_read("nothing", 1, NULL);
    beside_a_tensor(P("cos\nsystem\nX\x04\x00\x00\x00halt\x85R"));
    must_read("os.system", 1, "os.system");
    beside_a_tensor(P("\x8c\x05posix\x8c\x06system\x93\x8c\x04halt\x85R"));
    must_read("posix.system by STACK_GLOBAL", 1, "posix.system");
    beside_a_tensor(P("cbuiltins\neval\n(X\x01\x00\x00\x00"
                      "1tR}b"));
    must_read("eval, given a state", 1, "builtins.eval");
    beside_a_tensor(P("csubprocess\nPopen\n)\x81(X\x01\x00\x00\x00"
                      "kNu"));
    must_read("an object made by NEWOBJ, given items", 1, "subprocess.Popen");
    beside_a_tensor(P("h\x01"));
    must_read("the dictionary itself", 1, NULL);
    beside_a_tensor(P("]q\x02h\x02"
                      "a"));
    must_read("a list in itself", 1, NULL);
    beside_a_tensor(P("}(K\x01K\x02NK\x03\x89Nu"));
    must_read("keys that are no text", 1, NULL);
    beside_a_tensor(P("ccollections\nOrderedDict\n](]\xff"));
    must_refuse("a list that never ends", "is not one that PyTorch writes");
    beside_a_tensor(P("X\x02\x00\x00\x00"
                      "a/\x85Q"));
    must_read("something outside that is no storage", 1, NULL);
}

/* OrderedDict([["w", tensor], ["x", None]]) and texts without encoding, as Python 2 pickled them. */
static void dictionaries_of_python_2_are_read(void **state)
{
    (void)state;
    pickle.n = 0;
    pickle_begin(&pickle);
    pickle_global(&pickle, "collections", "OrderedDict");
    pickle_raw(&pickle, "](](U\x01w");
    pickle_tensor(&pickle, &(tensor_told){
                               .numel = 4, .first = 1, .rank = 1, .size = { 3 }, .stride = { 1 } });
    pickle_raw(&pickle, "e](U\x01xNee\x85R.");
    zip_of(4);
    must_read("pairs", 1, NULL);
    file.n = 0;
    torch_legacy(&file, &pickle, &(legacy_told){ .numbers = 4 }, 4);
    must_read("pairs, legacy", 1, NULL);
}

/* Names that only a table can refuse. */
static void names_must_be_names(void **state)
{
    static char key[2000];
    static const struct {
        const char *key;
        size_t size;
        const char *said;
    } of[] = {
        { P(""), "has 0 bytes: must be 1..1024" },
        { P("a\0b"), "not UTF-8, or holds a control" },
        { P("a\033[2Jb"), "not UTF-8, or holds a control" },
        { P("\xff\xfe"), "not UTF-8, or holds a control" },
        { P("\xed\xa0\x80"), "not UTF-8, or holds a control" },
        { key, 1025, "has 1025 bytes: must be 1..1024" },
        { key, 2000, "has 2000 bytes: must be 1..1024" },
    };

    (void)state;
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        pickle.n = 0;
        pickle_raw(&pickle, "\x80\x02}X");
        bytes_le(&pickle, of[i].size, 4);
        bytes_add(&pickle, of[i].key, of[i].size);
        pickle_tensor(&pickle, &(tensor_told){ .numel = 4 });
        pickle_raw(&pickle, "s.");
        zip_of(4);
        must_refuse("name", of[i].said);
    }
    pickle.n = 0; /* {"a/b": w, "a": {"b": w}} */
    pickle_raw(&pickle, "\x80\x02}(");
    pickle_text(&pickle, "a/b");
    pickle_tensor(&pickle, &(tensor_told){ .numel = 4 });
    pickle_text(&pickle, "a");
    pickle_raw(&pickle, "}");
    pickle_text(&pickle, "b");
    pickle_tensor(&pickle, &(tensor_told){ .numel = 4 });
    pickle_raw(&pickle, "su.");
    zip_of(4);
    must_refuse("path", "tensor \"a/b\": it is there twice");
}

/* ------------------------------------------------------------------ tensors and storages */

#define BIG INT64_MAX

static void tensors_lie_inside_their_storages(void **state)
{
    static const struct {
        tensor_told is;
        const char *said;
    } of[] = {
        { { .numel = 4, .rank = 1, .size = { 5 }, .stride = { 1 } },
          "beyond the end of its storage" },
        { { .numel = 4, .rank = 1, .size = { 3 }, .stride = { 2 } },
          "beyond the end of its storage" },
        { { .numel = 4, .first = 2, .rank = 1, .size = { 3 }, .stride = { 1 } },
          "beyond the end of its storage" },
        { { .numel = 4, .rank = 2, .size = { 2, 3 }, .stride = { 3, 1 } },
          "beyond the end of its storage" },
        { { .numel = 4, .first = 4 }, "beyond the end of its storage" },
        { { .numel = 4, .first = 5 }, "begins outside its storage" },
        { { .numel = 4, .first = -1 }, "begins outside its storage" },
        { { .numel = 4, .first = INT64_MIN }, "begins outside its storage" },
        { { .numel = 4, .rank = 1, .size = { -1 }, .stride = { 1 } }, "sizes is negative" },
        { { .numel = 4, .rank = 1, .size = { 2 }, .stride = { -1 } }, "strides is negative" },
        { { .numel = 4, .rank = 1, .size = { BIG }, .stride = { 1 } }, "more than 2^40 elements" },
        { { .numel = 4, .rank = 2, .size = { BIG, BIG }, .stride = { 0, 0 } }, "more than 2^40" },
        { { .numel = 4, .rank = 2, .size = { 1 << 30, 1 << 30 }, .stride = { 0, 0 } },
          "more than 2^40" },
        { { .numel = 4, .rank = 1, .size = { 3 }, .stride = { BIG } }, "reach beyond 2^64" },
        { { .numel = 4, .rank = 2, .size = { 3, 3 }, .stride = { BIG / 2, BIG } },
          "reach beyond 2^64" },
        { { .numel = 4, .rank = 1, .size = { 2 }, .stride = { BIG } }, "reach beyond 2^64 bytes" },
        { { .numel = 4, .rank = 9, .size = { 1 }, .stride = { 1 } }, "at most 8" },
        { { .numel = 4, .rank = 1, .size = { 2 }, .stride = { 1, 1 }, .strides = 1 },
          "sizes and strides" },
        { { .numel = 4, .rank = 2, .size = { 2, 2 }, .stride = { 1 }, .strides = -1 },
          "sizes and strides" },
        { { .numel = 5 }, "has 16 bytes, the pickle says 20" },
        { { .numel = 0 }, "has 16 bytes, the pickle says 0" },
        { { .numel = 4, .storage = "DoubleStorage" }, "has 16 bytes, the pickle says 32" },
        { { .numel = -4 }, "not in 0..2^40" },
        { { .numel = BIG }, "not in 0..2^40" },
        { { .numel = 4, .key = "1" }, "has no storage archive/data/1" },
        { { .numel = 4, .key = "" }, "key is not a short name" },
        { { .numel = 4, .key = "../0" }, "key is not a short name" },
        { { .numel = 4, .key = "/etc/passwd" }, "key is not a short name" },
        { { .numel = 4,
            .key = "0123456789012345678901234567890123456789012345678901234567890123x" },
          "key is not a short name" },
        { { .numel = 4, .storage = "QUInt8Storage" }, "of a type that is not known" },
        { { .numel = 4, .storage = "system" }, "of a type that is not known" },
        { { .numel = 4, .view = 1, .view_first = 3, .view_size = 2 }, "larger than it" },
        { { .numel = 4, .view = 1, .view_first = -1, .view_size = 2 }, "larger than it" },
        { { .numel = 4, .view = 1, .view_first = 1, .view_size = BIG }, "larger than it" },
        { { .numel = 4, .view = 1, .view_first = 2, .view_size = 1, .first = 1 },
          "of its storage" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char name[32];

        pickle.n = 0;
        pickle_of_tensor(&pickle, &of[i].is);
        zip_of(4);
        (void)snprintf(name, sizeof name, "tensor %zu", i);
        must_refuse(name, of[i].said);
    }
    /* and what is just inside */
    pickle.n = 0;
    pickle_of_tensor(&pickle, &(tensor_told){ .numel = 4,
                                              .view = 1,
                                              .view_first = 1,
                                              .view_size = 3,
                                              .rank = 2,
                                              .size = { 2, 1 },
                                              .stride = { 2, BIG } });
    zip_of(4);
    must_read("the last element", 1, NULL);
    pickle.n = 0;
    pickle_of_tensor(
        &pickle,
        &(tensor_told){ .numel = 4, .first = 1, .rank = 2, .size = { 4, 2 }, .stride = { 0, 0 } });
    zip_of(4);
    must_read("expanded", 1, NULL);
}

static void rebuilds_with_other_arguments_are_refused(void **state)
{
    static const struct {
        const char *args;
        size_t size;
        const char *said;
    } of[] = {
        { P(")"), "a tensor has no storage" },
        { P("N\x85"), "a tensor has no storage" },
        { P("(NK\x00))t"), "a tensor has no storage" },
        { P("(NQK\x00))t"), "a tensor has no storage" },
        { P("(]QK\x00))t"), "a tensor has no storage" },
        { P("()QK\x00))t"), "a tensor has no storage" },
        { P("(h\x01QK\x00))t"), "a tensor has no storage" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        pickle.n = 0;
        pickle_raw(&pickle, "\x80\x02}q\x01");
        pickle_text(&pickle, "w");
        pickle_global(&pickle, "torch._utils", "_rebuild_tensor_v2");
        bytes_add(&pickle, of[i].args, of[i].size);
        pickle_raw(&pickle, "Rs.");
        zip_of(4);
        must_refuse("arguments", of[i].said);
    }
    pickle.n = 0;
    pickle_raw(&pickle, "\x80\x02}");
    pickle_text(&pickle, "w");
    pickle_global(&pickle, "torch._utils", "_rebuild_parameter");
    pickle_raw(&pickle, ")Rs.");
    zip_of(4);
    must_refuse("parameter", "a parameter of nothing");
    pickle.n = 0; /* Parameter(Parameter(...)) */
    pickle_raw(&pickle, "\x80\x02}");
    pickle_text(&pickle, "w");
    for (int i = 0; i < 20; i++)
        pickle_global(&pickle, "torch.nn.parameter", "Parameter");
    pickle_raw(&pickle, "N");
    for (int i = 0; i < 20; i++)
        pickle_raw(&pickle, "\x85R");
    pickle_raw(&pickle, "s.");
    zip_of(4);
    must_refuse("parameters", "a parameter of nothing");
}

/* ------------------------------------------------------------------ ZIP */

static void good_pickle(void)
{
    pickle.n = 0;
    pickle_of_tensor(
        &pickle,
        &(tensor_told){ .numel = 4, .first = 1, .rank = 1, .size = { 3 }, .stride = { 1 } });
}

/* The good file with one member more (last), whose name may be that of another one. */
static void archive(const zip_member *third, const zip_member *data, const zip_end *end)
{
    zip_member member[3] = {
        { .name = "archive/data.pkl", .data = pickle.data, .size = pickle.n },
        { .name = "archive/data/0", .data = torch_numbers, .size = 4 * sizeof(float) },
    };

    if (data) {
        member[1] = *data;
        member[1].data = torch_numbers;
        member[1].size = 4 * sizeof(float);
    }
    if (third)
        member[2] = *third;
    file.n = 0;
    zip_build(&file, member, third ? 3 : 2, end);
}

#define DATA .name = "archive/data/0"

static void archives_must_hold_together(void **state)
{
    static const struct {
        zip_end is;
        const char *said; /* NULL: it is read */
    } end[] = {
        { { .disk = 1 }, "several disks" },
        { { .count_add = 1 }, "more members than its directory has room for" },
        { { .count_add = -1 }, "longer than its members" },
        { { .count_add = 60000 }, "more members than its directory has room for" },
        { { .size_add = 1 }, "beyond where it must end" },
        { { .size_add = -1 }, "reaches beyond its end" },
        { { .size_add = 1 << 30 }, "beyond where it must end" },
        { { .first_add = 1 }, "beyond where it must end" },
        { { .first_add = -1 }, "holds something that is no member" },
        { { .behind = "x" }, "its directory is not at the end" },
        { { .comment = "a comment" }, NULL },
        { { .zip64 = 1 }, NULL },
        { { .zip64 = 2 }, NULL },
        { { .zip64 = 3 }, "disagree" },
        { { .zip64 = 1, .record_add = 1 }, "not where the locator says" },
        { { .zip64 = 1, .record_add = -1 }, "not where the locator says" },
        { { .zip64 = 1, .record_add = INT64_MAX }, "not where the locator says" },
        { { .zip64 = 1, .disks = 2 }, "several disks" },
        { { .zip64 = 1, .count_add = 1 }, "more members than its directory has room for" },
        { { .zip64 = 1, .count_add = INT64_MAX }, "more members than its directory has room for" },
        { { .zip64 = 1, .size_add = INT64_MAX }, "beyond where it must end" },
        { { .zip64 = 1, .first_add = -64 }, "holds something that is no member" },
    };
    static const struct {
        zip_member is;
        const char *said;
    } member[] = {
        { { DATA, .method = 8, .local_method = 8 }, "it is compressed" },
        { { DATA, .local_method = 8 }, "disagree" },
        { { DATA, .flags = 1 }, "it is encrypted" },
        { { DATA, .size_add = 4 }, "the pickle says 16" },
        { { DATA, .packed_add = 4 }, "its two sizes differ" },
        { { DATA, .header_add = 1 }, "not where the directory says" },
        { { DATA, .header_add = 1 << 30 }, "not before the directory" },
        { { DATA, .local_name = "archive/data/1" }, "not where the directory says" },
        { { DATA, .local_name = "archive/data/00" }, "not where the directory says" },
        { { DATA, .signature_flip = 1 }, "not where the directory says" },
        { { DATA, .zip64 = 1 }, NULL },
        { { DATA, .zip64 = 2 }, "need a ZIP64 field" },
        { { DATA, .zip64 = 1, .header_add = INT64_MAX }, "not before the directory" },
        { { DATA, .zip64 = 1, .size_add = INT64_MAX, .packed_add = INT64_MAX },
          "the pickle says 16" },
    };
    static const struct {
        zip_member is;
        const char *said;
    } third[] = {
        { { .name = "archive/data/0", .data = "x", .size = 1 }, "it is there twice" },
        { { .name = "other/data.pkl", .data = "x", .size = 1 }, "several data.pkl" },
        { { .name = "archive/constants.pkl" }, "is TorchScript" },
        { { .name = "archive/code/a.py" }, "is TorchScript" },
        { { .name = "archive/byteorder", .data = "big", .size = 3 }, "byte order is not little" },
        { { .name = "archive/byteorder", .data = "little\n", .size = 7 }, "is not little" },
        { { .name = "archive/byteorder", .data = "xxxxxxxxxxxx", .size = 12 }, "neither" },
        { { .name = "archive/byteorder", .data = "little", .size = 6 }, NULL },
        { { .name = "../../etc/passwd", .data = "x", .size = 1 }, NULL },
        { { .name = "/data.pkl", .data = "x", .size = 1 }, "has no name" },
        { { .name = "" }, "name is empty" },
    };
    char name[32];

    (void)state;
    good_pickle();
    for (size_t i = 0; i < sizeof end / sizeof *end; i++) {
        archive(NULL, NULL, &end[i].is);
        (void)snprintf(name, sizeof name, "end %zu", i);
        end[i].said ? must_refuse(name, end[i].said) : must_read(name, 1, NULL);
    }
    for (size_t i = 0; i < sizeof member / sizeof *member; i++) {
        archive(NULL, &member[i].is, &(zip_end){ 0 });
        (void)snprintf(name, sizeof name, "member %zu", i);
        member[i].said ? must_refuse(name, member[i].said) : must_read(name, 1, NULL);
    }
    for (size_t i = 0; i < sizeof third / sizeof *third; i++) {
        archive(&third[i].is, NULL, &(zip_end){ 0 });
        (void)snprintf(name, sizeof name, "third %zu", i);
        third[i].said ? must_refuse(name, third[i].said) : must_read(name, 1, NULL);
    }
}

static void archives_of_something_else_are_told(void **state)
{
    static const zip_member other[] = { { .name = "notes.txt", .data = "x", .size = 1 } };
    static const zip_member rootless[] = { { .name = "/data.pkl", .data = "x", .size = 1 } };
    zip_member long_root[] = { { .data = "x", .size = 1 } };
    char name[400];
    dmq_checkpoint *c;

    (void)state;
    file.n = 0;
    zip_build(&file, other, 1, &(zip_end){ 0 });
    must_refuse("other", "neither of PyTorch nor of NumPy");
    file.n = 0;
    zip_build(&file, rootless, 1, &(zip_end){ 0 });
    must_refuse("no root", "has no name");
    memset(name, 'r', 300);
    (void)snprintf(name + 300, 100, "/data.pkl");
    long_root[0].name = name;
    file.n = 0;
    zip_build(&file, long_root, 1, &(zip_end){ 0 });
    must_refuse("long root", "too long a one");
    file.n = 0;
    zip_build(&file, other, 0, &(zip_end){ 0 });
    must_refuse("empty", "neither of PyTorch nor of NumPy");
    /* a checksum that is wrong is not seen before it is asked for */
    good_pickle();
    archive(NULL, &(zip_member){ DATA, .crc_flip = 1 }, &(zip_end){ 0 });
    assert_int_equal(read_file(&c, 0), DMQ_OK);
    assert_int_equal(dmq_checkpoint_check(c), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "archive/data/0\" has CRC-32"));
    dmq_checkpoint_close(c);
    archive(&(zip_member){ .name = "note", .data = "x", .size = 1, .method = 8 }, NULL,
            &(zip_end){ 0 });
    assert_int_equal(read_file(&c, 0), DMQ_OK); /* compressed, and nobody needs it */
    assert_int_equal(dmq_checkpoint_check(c), DMQ_OK);
    dmq_checkpoint_close(c);
}

static void crc_is_that_of_zip(void **state)
{
    (void)state;
    assert_int_equal(dmq_crc32(0, "123456789", 9),
                     0xCBF43926U); /* the check value of the polynomial */
    assert_int_equal(dmq_crc32(dmq_crc32(0, "1234", 4), "56789", 5), 0xCBF43926U);
    assert_int_equal(dmq_crc32(0, "", 0), 0);
}

/* ------------------------------------------------------------------ legacy */

static void legacy_files_must_hold_together(void **state)
{
    static const struct {
        legacy_told is;
        const char *said;
    } of[] = {
        { { .numbers = 4 }, NULL },
        { { .numbers = 4, .magic_flip = 1 }, "no checkpoint that dmq knows" },
        { { .numbers = 4, .version_add = 1 }, "protocol version is not 1001" },
        { { .numbers = 4, .big_endian = 1 }, "byte order is not little" },
        { { .numbers = 4, .keys = "}" }, "list of storages is none" },
        { { .numbers = 4, .keys = "]" }, "behind its last storage" },
        { { .numbers = 4, .keys = "]Na" }, "a storage that no tensor uses" },
        { { .numbers = 4,
            .keys = "]U\x01"
                    "1a" },
          "a storage that no tensor uses" },
        { { .numbers = 4,
            .keys = "](U\x01"
                    "0U\x01"
                    "0e" },
          "has one twice" },
        { { .numbers = 4, .numel_add = 1 }, "another length than the pickle says" },
        { { .numbers = 4, .numel_add = INT64_MAX }, "another length than the pickle says" },
        { { .numbers = 3 }, "it is cut short" },
        { { .numbers = 5 }, "behind its last storage" },
        { { .numbers = 4, .behind = "x" }, "behind its last storage" },
    };
    const tensor_told good = { .numel = 4, .first = 1, .rank = 1, .size = { 3 }, .stride = { 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char name[32];

        good_pickle();
        file.n = 0;
        torch_legacy(&file, &pickle, &of[i].is, 4);
        (void)snprintf(name, sizeof name, "legacy %zu", i);
        of[i].said ? must_refuse(name, of[i].said) : must_read(name, 1, NULL);
    }
    /* two tensors that do not agree what they share */
    pickle.n = 0;
    pickle_raw(&pickle, "\x80\x02}(");
    pickle_text(&pickle, "w");
    pickle_tensor(&pickle, &good);
    pickle_text(&pickle, "x");
    pickle_tensor(&pickle, &(tensor_told){ .numel = 2, .storage = "DoubleStorage" });
    pickle_raw(&pickle, "u.");
    file.n = 0;
    torch_legacy(&file, &pickle, &(legacy_told){ .numbers = 4 }, 4);
    must_refuse("shared", "disagree about their storage");
    good_pickle(); /* every cut */
    file.n = 0;
    torch_legacy(&file, &pickle, &(legacy_told){ .numbers = 4 }, 4);
    for (size_t n = file.n; n-- > 0;) {
        file.n = n;
        must_refuse("cut", "");
    }
}

/* ------------------------------------------------------------------ other containers */

static void other_files_are_told(void **state)
{
    static const struct {
        const char *is;
        size_t size;
        const char *said;
    } of[] = {
        { P(""), "no checkpoint that dmq knows" },
        { P("x"), "no checkpoint that dmq knows" },
        { P("PK\3\4"), "shorter than an empty one" },
        { P("PK\5\6"), "shorter than an empty one" },
        { P("\x80\x04\x95"), "no checkpoint that dmq knows" },
        { P("#!/bin/sh\nrm -rf /\n"), "no checkpoint that dmq knows" },
        { P("{"), "not valid JSON" },
        { P("{}"), "no index of shards" },
        { P("{\"weight_map\": {}}"), "no index of shards" },
        { P("{\"weight_map\": []}"), "no index of shards" },
        { P("{\"weight_map\": {\"a\": 1}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"../x\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"/etc/passwd\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"b/c\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"b\\\\c\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"a..b\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \"\"}}"), "must be a plain name" },
        { P("{\"weight_map\": {\"a\": \".hidden\"}}"), "must be a plain name" },
        { P("\x10\0\0\0\0\0\0\0{}"), "more bytes than the file has" },
        { P("\x02\0\0\0\0\0\0\0{}x"), "it has 1" },
    };

    (void)state;
    for (size_t i = 0; i + 1 < sizeof of / sizeof *of; i++) {
        char name[32];

        file.n = 0;
        bytes_add(&file, of[i].is, of[i].size);
        (void)snprintf(name, sizeof name, "file %zu", i);
        must_refuse(name, of[i].said);
    }
    file.n = 512;
    memset(file.data, 0, 512);
    memcpy(file.data, "sys_info", 8);
    memcpy(file.data + 257, "ustar", 5);
    must_refuse("tar", "torch.save it again");
}

static int count_cases(void **state)
{
    (void)state;
    (void)printf("%d files\n", cases);
    return cases >= 60 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opcodes_that_do_not_fit_are_refused),
        cmocka_unit_test(opcodes_that_pytorch_does_not_write_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_calls_and_loops_is_passed_over),
        cmocka_unit_test(dictionaries_of_python_2_are_read),
        cmocka_unit_test(names_must_be_names),
        cmocka_unit_test(tensors_lie_inside_their_storages),
        cmocka_unit_test(rebuilds_with_other_arguments_are_refused),
        cmocka_unit_test(archives_must_hold_together),
        cmocka_unit_test(archives_of_something_else_are_told),
        cmocka_unit_test(crc_is_that_of_zip),
        cmocka_unit_test(legacy_files_must_hold_together),
        cmocka_unit_test(other_files_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, count_cases);
}
