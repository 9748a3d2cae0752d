#include "run/stand_in.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"
#include "io/yaml.h"
#include "model/init.h"
#include "model/published.h"
#include "run/network.h"

#include <string.h>

/* Of random weights that stand in for others: any will do. */
enum { SEED = 1 };

void dmq_missing_release(dmq_missing *missing)
{
    for (int i = 0; i < missing->n; i++)
        dmq_free(missing->text[i]);
    dmq_free(missing->text);
    *missing = (dmq_missing){ 0 };
}

dmq_status dmq_missing_add(dmq_missing *m, const char *text)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < m->n; i++) {
        if (strcmp(m->text[i], text) == 0)
            return DMQ_OK;
    }
    DMQ_TRY(dmq_grow((void **)&m->text, (size_t)m->n, (size_t)m->n + 1, sizeof *m->text));
    DMQ_TRY(dmq_strdup(&m->text[m->n], text));
    m->n++;
done:
    return st;
}

dmq_status dmq_missing_look(int *gone, dmq_missing *missing, const dmq_config *c, const char *key,
                            const char *source)
{
    const char *name = dmq_config_text(c, key);
    char *path = NULL;
    dmq_status st = DMQ_OK;

    if (strncmp(name, "data:", 5) != 0 && !strchr(name, '/'))
        return st;
    DMQ_TRY(dmq_path_resolve(&path, name));
    if (dmq_file_exists(path) || dmq_folder_exists(path))
        goto done;
    *gone = 1;
    (void)dmq_fail(DMQ_ENOINPUT, "there is no %s, which %s names", path, key);
    (void)dmq_origin_note(DMQ_ENOINPUT, dmq_config_origin(c, key));
    (void)dmq_config_hints(c, source, DMQ_ENOINPUT, "data:NAME is a file of $DMQ_DATA");
    DMQ_TRY(dmq_missing_add(missing, dmq_message()));
done:
    dmq_free(path);
    return st;
}

int dmq_stand_in_described(const char *path)
{
    return dmq_path_has_suffix(path, ".yaml");
}

static dmq_status hash_of(char hash[DMQ_HASH_TEXT], const dmq_model *model, const char *how,
                          int64_t seed)
{
    dmq_text t = { 0 };
    char *text = NULL;
    dmq_status st = DMQ_OK;

    dmq_text_add(&t, "%s\nseed %lld\nkind %s\n%s", how, (long long)seed, model->arch->kind,
                 model->config_text);
    DMQ_TRY(dmq_text_take(&text, &t));
    DMQ_TRY(dmq_hash_memory(hash, text, strlen(text)));
done:
    dmq_text_release(&t);
    dmq_free(text);
    return st;
}

dmq_status dmq_stand_in_random(dmq_model **out, dmq_model_info *info, char hash[DMQ_HASH_TEXT],
                               const char *path)
{
    dmq_config *c = NULL;
    dmq_model *model = NULL;
    int64_t seed;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_schema_config(&c));
    DMQ_TRY(dmq_yaml_load(c, path));
    DMQ_TRY(dmq_schema_check(c));
    DMQ_TRY(dmq_model_from_config(&model, c));
    seed = dmq_config_int64(c, "seed");
    DMQ_TRY(hash_of(hash, model, "random weights", seed));
    dmq_model_init_random(model, (uint64_t)seed);
    if (info)
        dmq_model_info_from_config(info, c);
    *out = model;
    model = NULL;
done:
    dmq_model_destroy(model);
    dmq_config_destroy(c);
    return st;
}

dmq_status dmq_stand_in_published(dmq_model **out, dmq_model_info *info, char hash[DMQ_HASH_TEXT],
                                  const dmq_config *config, const char *key, dmq_missing *missing)
{
    const char *id = dmq_config_text(config, key);
    const dmq_published *p;
    dmq_model *model = NULL;
    dmq_status st = DMQ_OK;

    if (!missing || !*id)
        return DMQ_ENOINPUT;
    DMQ_TRY(dmq_missing_add(missing, dmq_message()));
    st = dmq_published_find(&p, id);
    if (st != DMQ_OK) {
        (void)dmq_origin_note(st, dmq_config_origin(config, key));
        goto done;
    }
    DMQ_TRY(p->create(&model));
    DMQ_TRY(hash_of(hash, model, "missing", 0));
    if (missing->weights)
        dmq_model_init_random(model, SEED);
    if (info)
        *info = p->info;
    *out = model;
    model = NULL;
done:
    dmq_model_destroy(model);
    return st;
}
