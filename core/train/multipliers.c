/* See multipliers.h. */
#include "train/multipliers.h"

#include "base/text.h"

#include <fnmatch.h>

typedef struct multiplier {
    char *pattern;
    double factor;
} multiplier;

struct clvi_multipliers {
    multiplier *list;
    size_t count, capacity;
};

static clv_status refuse(const clvi_config *config, const char *sentence, const char *piece,
                         clv_error *error)
{
    return clvi_config_fail(config, "optimizer", "lr_multiplier", error, "'%s' %s", piece,
                            sentence);
}

static bool fits_any(const char *pattern, const clvi_store *store)
{
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (!s->is_state && fnmatch(pattern, s->name, 0) == 0)
            return true;
    }
    return false;
}

/* Takes "PATTERN=FACTOR", which is cut in place. */
static clv_status add(clvi_multipliers *m, const clvi_config *config, const clvi_store *store,
                      char *piece, clv_error *error)
{
    piece += strspn(piece, " \t");
    char *equals = strrchr(piece, '=');
    double factor = 0;
    if (!equals || equals == piece || !clvi_parse_real(equals + 1, &factor) || factor < 0 ||
        factor > 1e6)
        return refuse(config, "is no PATTERN=FACTOR, such as expert.a.*=0.1", piece, error);
    char *end = equals;
    while (end > piece && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    if (!fits_any(piece, store))
        return refuse(config, "fits the name of no parameter (`conclave summary` shows the layers)",
                      piece, error);
    void *list = m->list;
    CLV_TRY(clvi_grow(&list, &m->capacity, m->count + 1, sizeof *m->list, error));
    m->list = list;
    char *copy = clvi_strdup(piece);
    if (!copy)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for optimizer.lr_multiplier");
    m->list[m->count++] = (multiplier){copy, factor};
    return CLV_OK;
}

static clv_status parse(clvi_multipliers *m, const clvi_config *config, const clvi_store *store,
                        char *text, clv_error *error)
{
    for (char *piece = text; piece;) {
        char *comma = strchr(piece, ',');
        if (comma)
            *comma = '\0';
        CLV_TRY(add(m, config, store, piece, error));
        piece = comma ? comma + 1 : NULL;
    }
    return CLV_OK;
}

clv_status clvi_multipliers_create(const clvi_config *config, const clvi_store *store,
                                   clvi_multipliers **out, clv_error *error)
{
    const char *given = clvi_config_text(config, "optimizer", "lr_multiplier");
    if (*given == '\0') {
        *out = NULL;
        return CLV_OK;
    }
    clvi_multipliers *m = clvi_calloc(1, sizeof *m);
    char *text = clvi_strdup(given);
    clv_status status = CLV_OK;
    if (!m || !text)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for optimizer.lr_multiplier");
    else
        status = parse(m, config, store, text, error);
    clvi_free(text);
    if (status != CLV_OK) {
        clvi_multipliers_destroy(m);
        return status;
    }
    *out = m;
    return CLV_OK;
}

void clvi_multipliers_destroy(clvi_multipliers *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        clvi_free(m->list[i].pattern);
    clvi_free(m->list);
    clvi_free(m);
}

double clvi_multipliers_of(void *multipliers, const char *name)
{
    const clvi_multipliers *m = multipliers;
    for (size_t i = m->count; i-- > 0;)
        if (fnmatch(m->list[i].pattern, name, 0) == 0)
            return m->list[i].factor;
    return 1;
}
