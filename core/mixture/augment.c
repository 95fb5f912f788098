/* See augment.h. */
#include "mixture/augment.h"

#include "base/text.h"

#include <stddef.h>
#include <string.h>

static const char section[] = "data", key[] = "augment";

static const struct step {
    const char *name;
    size_t place;
    double usual, min, max;
} steps[] = {
    {"crop", offsetof(clvi_augment, crop), 0.35, 0.01, 1},
    {"flip", offsetof(clvi_augment, flip), 0.5, 0, 1},
    {"colour", offsetof(clvi_augment, colour), 0.2, 0, 1},
    {"hue", offsetof(clvi_augment, hue), 0.05, 0, 0.5},
    {"erase", offsetof(clvi_augment, erase), 0.25, 0, 1},
};
enum { STEPS = sizeof steps / sizeof *steps };

static double *strength(clvi_augment *a, const struct step *step)
{
    return (double *)(void *)((char *)a + step->place);
}

/* One word of the list, "crop" or "crop:0.5", at text[0..length). */
static clv_status read_step(const clvi_config *config, const char *text, size_t length,
                            clvi_augment *out, bool *given, clv_error *error)
{
    char word[64] = "";
    while (length > 0 && text[0] == ' ')
        text++, length--;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    if (length < sizeof word)
        memcpy(word, text, length);
    char *colon = strchr(word, ':');
    if (colon)
        *colon = '\0';
    for (size_t i = 0; i < STEPS; i++) {
        const struct step *s = &steps[i];
        if (!clvi_name_equal(word, s->name))
            continue;
        double value = s->usual;
        if (given[i])
            return clvi_config_fail(config, section, key, error, "'%s' stands there twice", word);
        if (colon && (!clvi_parse_real(colon + 1, &value) || !(value >= s->min && value <= s->max)))
            return clvi_config_fail(config, section, key, error,
                                    "'%s' is no strength of %s; give a number from %g to %g",
                                    colon + 1, s->name, s->min, s->max);
        given[i] = true;
        *strength(out, s) = value;
        return CLV_OK;
    }
    const char *names[STEPS + 3] = {"none", "characters", "photos"};
    for (size_t i = 0; i < STEPS; i++)
        names[i + 3] = steps[i].name;
    const char *near = clvi_nearest(word, names, STEPS + 3);
    return clvi_config_fail(config, section, key, error,
                            "'%.*s' is neither none, characters, photos nor one of the steps crop, "
                            "flip, colour, hue, erase%s%s%s",
                            (int)length, text, near != NULL ? "; did you mean " : "",
                            near != NULL ? near : "", near != NULL ? "?" : "");
}

clv_status clvi_augment_read(const clvi_config *config, clvi_augment *out, clv_error *error)
{
    const char *text = clvi_config_text(config, section, key);
    clvi_augment a = {.kind = CLVI_AUGMENT_NONE};
    bool given[STEPS] = {false};
    if (clvi_name_equal(text, "none")) {
        *out = a;
        return CLV_OK;
    }
    if (clvi_name_equal(text, "characters")) {
        a.kind = CLVI_AUGMENT_CHARACTERS;
        *out = a;
        return CLV_OK;
    }
    a.kind = CLVI_AUGMENT_STEPS;
    if (clvi_name_equal(text, "photos"))
        text = "crop, flip, colour";
    for (const char *at = text;;) {
        const size_t length = strcspn(at, ",");
        CLV_TRY(read_step(config, at, length, &a, given, error));
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    *out = a;
    return CLV_OK;
}
