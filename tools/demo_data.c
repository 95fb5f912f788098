/* conclave-demo-data: an image set to try Conclave on, made from the fonts of this machine.
 *
 * Draws 46 Devanagari characters (36 consonants and conjuncts, 10 digits; the classes and folder
 * names of the Devanagari Handwritten Character Dataset) with random distortions into
 * OUT/train/CLASS/NNNN.jpg and OUT/test/CLASS/NNNN.jpg. The test pictures come from font families
 * that no training picture uses. The same seed, parameters and fonts give the same pictures. */
#define _GNU_SOURCE /* getopt_long, nftw */
#include "demo_data/draw.h"

#include "base/files.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <turbojpeg.h>

#define MANIFEST     "manifest.txt"
#define JPEG_QUALITY 92
/* First line of a manifest. The number grows when the same parameters give other pictures. */
#define MANIFEST_HEAD "conclave-demo-data 1"

/* The class's folder, and the character. */
static const struct {
    const char *name, *text;
} classes[] = {
    {"character_1_ka", "क"},
    {"character_2_kha", "ख"},
    {"character_3_ga", "ग"},
    {"character_4_gha", "घ"},
    {"character_5_kna", "ङ"},
    {"character_6_cha", "च"},
    {"character_7_chha", "छ"},
    {"character_8_ja", "ज"},
    {"character_9_jha", "झ"},
    {"character_10_yna", "ञ"},
    {"character_11_taamatar", "ट"},
    {"character_12_thaa", "ठ"},
    {"character_13_daa", "ड"},
    {"character_14_dhaa", "ढ"},
    {"character_15_adna", "ण"},
    {"character_16_tabala", "त"},
    {"character_17_tha", "थ"},
    {"character_18_da", "द"},
    {"character_19_dha", "ध"},
    {"character_20_na", "न"},
    {"character_21_pa", "प"},
    {"character_22_pha", "फ"},
    {"character_23_ba", "ब"},
    {"character_24_bha", "भ"},
    {"character_25_ma", "म"},
    {"character_26_yaw", "य"},
    {"character_27_ra", "र"},
    {"character_28_la", "ल"},
    {"character_29_waw", "व"},
    {"character_30_motosaw", "श"},
    {"character_31_petchiryakha", "ष"},
    {"character_32_patalosaw", "स"},
    {"character_33_ha", "ह"},
    {"character_34_chhya", "क्ष"},
    {"character_35_tra", "त्र"},
    {"character_36_gya", "ज्ञ"},
    {"digit_0", "०"},
    {"digit_1", "१"},
    {"digit_2", "२"},
    {"digit_3", "३"},
    {"digit_4", "४"},
    {"digit_5", "५"},
    {"digit_6", "६"},
    {"digit_7", "७"},
    {"digit_8", "८"},
    {"digit_9", "९"},
};
#define CLASS_COUNT ((int)(sizeof(classes) / sizeof(classes[0])))

typedef struct parameters {
    const char *out;
    int64_t size, train, test, class_count, seed;
    bool quiet;
} parameters;

/* The faces of one font family: fonts.items[first …]. */
typedef struct family {
    size_t first, count;
} family;

/* Everything that making the pictures needs. */
typedef struct maker {
    const parameters *wanted;
    clvi_demo_fonts fonts;
    family *families[2]; /* of the training and the test split */
    size_t family_count[2];
    clvi_demo_canvas *canvas;
    tjhandle jpeg;
    unsigned char *bytes; /* one compressed picture, room for any */
    unsigned long byte_count;
} maker;

static const char usage[] =
    "usage: conclave-demo-data --out DIR [options]\n"
    "Draws Devanagari characters from the fonts of this machine, as JPEG files in class folders.\n"
    "  --out DIR      where to: DIR/train/CLASS/NNNN.jpg and DIR/test/CLASS/NNNN.jpg\n"
    "  --size N       width and height in pixels (default 32)\n"
    "  --train N      pictures per class for training (default 200)\n"
    "  --test N       pictures per class for the test, from other fonts (default 50)\n"
    "  --classes N    only the first N of the 46 classes\n"
    "  --seed N       of the random distortions (default 0)\n"
    "  --quiet        print errors only\n"
    "  --help         this text\n"
    "A finished set with the same parameters is left alone.\n"
    "example: conclave-demo-data --out build/demo-data --train 100 --test 20\n";

/* The families of one split, "A, B, C". */
static void append_families(clvi_text *text, const maker *with, int split)
{
    for (size_t i = 0; i < with->family_count[split]; i++)
        clvi_text_printf(text, "%s%s", i ? ", " : "",
                         with->fonts.items[with->families[split][i].first].family);
}

static void append_parameters(clvi_text *text, const parameters *wanted)
{
    clvi_text_printf(text, MANIFEST_HEAD "\nsize %d\ntrain %d\ntest %d\nclasses %d\nseed %lld\n",
                     (int)wanted->size, (int)wanted->train, (int)wanted->test,
                     (int)wanted->class_count, (long long)wanted->seed);
}

/* What stands in the way at `path`. */
typedef enum occupant { OCCUPANT_NONE, OCCUPANT_SET, OCCUPANT_SAME, OCCUPANT_FOREIGN } occupant;

/* Whether a name is one that this program gives to what lies there. */
typedef bool own_name(const char *name);

static bool is_no_name(const char *name)
{
    (void)name;
    return false;
}

static bool is_top_name(const char *name)
{
    return strcmp(name, "train") == 0 || strcmp(name, "test") == 0 || strcmp(name, MANIFEST) == 0;
}

static bool is_class_name(const char *name)
{
    bool found = false;
    for (int i = 0; i < CLASS_COUNT && !found; i++)
        found = strcmp(name, classes[i].name) == 0;
    return found;
}

static bool is_picture_name(const char *name)
{
    return strspn(name, "0123456789") == 4 && strcmp(name + 4, ".jpg") == 0;
}

/* Clears *ours unless a folder holds only what this program writes: folders whose names are one of
 * names[0], in them those of names[1] and so on, files below the last; and the manifest. */
static clv_status look_below(const char *path, own_name *const *names, bool *ours, clv_error *error)
{
    char **list = NULL;
    size_t count = 0;
    CLV_TRY(clvi_dir_list(path, &list, &count, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && *ours && status == CLV_OK; i++) {
        char *below = clvi_path_join(path, list[i]);
        struct stat info;
        if (!below)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
        else if (lstat(below, &info) != 0)
            status = clvi_fail_errno(error, errno, CLV_HERE, "cannot look at %s", below);
        else if (!(*names)(list[i]))
            *ours = false;
        else if (S_ISDIR(info.st_mode) && names[1])
            status = look_below(below, names + 1, ours, error);
        else
            *ours = S_ISREG(info.st_mode) && (!names[1] || strcmp(list[i], MANIFEST) == 0);
        clvi_free(below);
    }
    clvi_names_free(list, count);
    return status;
}

/* Whose a manifest is: OCCUPANT_SAME when it begins with `head` (NULL: none does), OCCUPANT_SET
 * when it is that of another set, otherwise OCCUPANT_FOREIGN. */
static clv_status look_at_manifest(const char *file, const char *head, occupant *found,
                                   clv_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    CLV_TRY(clvi_file_read(file, 1 << 20, &text, &bytes, error));
    *found = OCCUPANT_FOREIGN;
    if (head && strncmp(text, head, strlen(head)) == 0)
        *found = OCCUPANT_SAME;
    else if (strncmp(text, MANIFEST_HEAD, strlen("conclave-demo-data ")) == 0)
        *found = OCCUPANT_SET;
    clvi_free(text);
    return CLV_OK;
}

/* OCCUPANT_SAME: a set with a manifest that begins with `head`, if not NULL. OCCUPANT_SET: another
 * one, or an empty folder, in which nothing has a name that this program does not give: it may be
 * removed. */
static clv_status look_at(const char *path, const char *head, occupant *found, clv_error *error)
{
    static own_name *const names[] = {is_top_name, is_class_name, is_picture_name, NULL};
    static own_name *const none[] = {is_no_name, NULL};
    struct stat info;
    *found = OCCUPANT_NONE;
    if (lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return CLV_OK;
        return clvi_fail_errno(error, errno, CLV_HERE, "cannot look at %s", path);
    }
    *found = OCCUPANT_FOREIGN;
    if (!S_ISDIR(info.st_mode))
        return CLV_OK;
    char *manifest = clvi_path_join(path, MANIFEST);
    if (!manifest)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    const bool marked = clvi_is_file(manifest);
    occupant kind = OCCUPANT_SET;
    clv_status status = marked ? look_at_manifest(manifest, head, &kind, error) : CLV_OK;
    clvi_free(manifest);
    bool ours = true;
    if (status == CLV_OK && kind == OCCUPANT_SET)
        status = look_below(path, marked ? names : none, &ours, error);
    if (status == CLV_OK && ours)
        *found = kind;
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static clv_status remove_tree(const char *path, clv_error *error)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "cannot remove %s", path);
    return CLV_OK;
}

/* Draws picture `index` of a class into with->bytes. Families take turns, so that one with many
 * weights counts no more than one with a single. */
static clv_status make_picture(maker *with, int split, int label, int index, clv_error *error)
{
    clvi_demo_random random = {.key = clvi_philox_stream((uint64_t)with->wanted->seed, "demo data"),
                               .split = (uint32_t)split,
                               .label = (uint32_t)label,
                               .index = (uint32_t)index};
    const family from = with->families[split][(size_t)index % with->family_count[split]];
    const clvi_demo_font *font =
        &with->fonts.items[from.first + clvi_demo_pick(&random, from.count)];
    const int size = (int)with->wanted->size;
    const unsigned char *pixels = NULL;
    CLV_TRY(
        clvi_demo_draw(with->canvas, &font->outlines[label], font->bold, &random, &pixels, error));
    with->byte_count = tjBufSize(size, size, TJSAMP_GRAY);
    if (tjCompress2(with->jpeg, pixels, size, size, size, TJPF_GRAY, &with->bytes,
                    &with->byte_count, TJSAMP_GRAY, JPEG_QUALITY, TJFLAG_NOREALLOC) != 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "cannot compress a picture: %s",
                 tjGetErrorStr2(with->jpeg));
    return CLV_OK;
}

/* A plain write: the whole set is put in place by one rename at the end. */
static clv_status write_picture(const maker *with, const char *path, clv_error *error)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return clvi_fail_errno(error, errno, CLV_HERE, "cannot write %s", path);
    const bool written = fwrite(with->bytes, 1, with->byte_count, file) == with->byte_count;
    const int code = errno;
    if (fclose(file) != 0 || !written)
        return clvi_fail_errno(error, written ? errno : code, CLV_HERE, "cannot write %s", path);
    return CLV_OK;
}

/* All pictures of a class in one split; `folder` is theirs. */
static clv_status make_class(maker *with, const char *folder, int split, int label,
                             clv_error *error)
{
    CLV_TRY(clvi_make_dirs(folder, 0755, error));
    const int count = (int)(split ? with->wanted->test : with->wanted->train);
    for (int index = 0; index < count; index++) {
        clvi_text path = {0};
        clvi_text_printf(&path, "%s/%04d.jpg", folder, index);
        clv_status status = path.failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory")
                                        : make_picture(with, split, label, index, error);
        if (status == CLV_OK)
            status = write_picture(with, clvi_text_get(&path), error);
        clvi_text_fini(&path);
        CLV_TRY(status);
    }
    return CLV_OK;
}

/* Manifest and pictures into the new folder `root`. The manifest goes first: it marks the folder as
 * ours should the program be stopped, and the final name is given only when all is there. */
static clv_status fill_set(maker *with, const char *root, clv_error *error)
{
    CLV_TRY(clvi_make_dirs(root, 0755, error));
    clvi_text text = {0};
    append_parameters(&text, with->wanted);
    clvi_text_append(&text, "fonts for training: ");
    append_families(&text, with, 0);
    clvi_text_append(&text, "\nfonts for the test: ");
    append_families(&text, with, 1);
    clvi_text_append(&text, "\n");
    char *path = clvi_path_join(root, MANIFEST);
    clv_status status;
    if (!path || text.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
    else
        status = clvi_file_write(path, text.data, text.length, error);
    clvi_free(path);
    clvi_text_fini(&text);
    for (int i = 0; status == CLV_OK && i < 2 * CLASS_COUNT; i++) {
        const int split = i / CLASS_COUNT, label = i % CLASS_COUNT;
        if (label >= with->wanted->class_count)
            continue;
        clvi_text folder = {0};
        clvi_text_printf(&folder, "%s/%s/%s", root, split ? "test" : "train", classes[label].name);
        status = folder.failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory")
                               : make_class(with, clvi_text_get(&folder), split, label, error);
        clvi_text_fini(&folder);
    }
    return status;
}

/* Sorts the families into those for training and those for the test. */
static clv_status split_families(maker *with, clv_error *error)
{
    const clvi_demo_fonts *fonts = &with->fonts;
    CLV_TRY(clvi_demo_fonts_hold_out(&with->fonts, error));
    for (int split = 0; split < 2; split++) {
        family *families = clvi_calloc(fonts->count, sizeof(*families));
        if (!families)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
        with->families[split] = families;
        size_t count = 0;
        for (size_t i = 0; i < fonts->count; i++) {
            const clvi_demo_font *font = &fonts->items[i];
            if (font->held_out != (split == 1))
                continue;
            if (i == 0 || strcmp(fonts->items[i - 1].family, font->family) != 0)
                families[count++].first = i;
            families[count - 1].count++;
        }
        with->family_count[split] = count;
    }
    return CLV_OK;
}

/* Fonts, canvas and compressor. The caller calls maker_fini whatever happens. */
static clv_status maker_init(maker *with, const parameters *wanted, clv_error *error)
{
    const char *texts[CLASS_COUNT];
    for (int i = 0; i < CLASS_COUNT; i++)
        texts[i] = classes[i].text;
    *with = (maker){.wanted = wanted};
    clvi_text notes = {0};
    const clv_status status =
        clvi_demo_fonts_load(&with->fonts, texts, (size_t)CLASS_COUNT, &notes, error);
    if (status == CLV_OK && notes.length && !wanted->quiet)
        printf("fonts left out:\n%s", clvi_text_get(&notes));
    clvi_text_fini(&notes);
    if (status != CLV_OK)
        return status;
    CLV_TRY(split_families(with, error));
    CLV_TRY(clvi_demo_canvas_create((int)wanted->size, &with->canvas, error));
    with->jpeg = tjInitCompress();
    with->bytes = clvi_malloc(tjBufSize((int)wanted->size, (int)wanted->size, TJSAMP_GRAY));
    if (!with->jpeg || !with->bytes)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    return CLV_OK;
}

static void maker_fini(maker *with)
{
    clvi_demo_fonts_fini(&with->fonts);
    clvi_free(with->families[0]);
    clvi_free(with->families[1]);
    clvi_demo_canvas_destroy(with->canvas);
    if (with->jpeg)
        tjDestroy(with->jpeg);
    clvi_free(with->bytes);
}

/* Moves the finished set to its place. An older one goes aside first and comes back should that
 * fail, so that there is always a whole one. */
static clv_status put_in_place(const char *temporary, const char *out, const char *aside,
                               bool replace, clv_error *error)
{
    if (replace && rename(out, aside) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "cannot rename %s to %s", out, aside);
    if (rename(temporary, out) == 0)
        return replace ? remove_tree(aside, error) : CLV_OK;
    const int code = errno;
    if (replace)
        (void)rename(aside, out);
    return clvi_fail_errno(error, code, CLV_HERE, "cannot rename %s to %s", temporary, out);
}

/* Makes the set at `temporary`, with what is said about it. */
static clv_status make_set(const parameters *wanted, const char *temporary, clv_error *error)
{
    maker with;
    clv_status status = maker_init(&with, wanted, error);
    if (status == CLV_OK && !wanted->quiet) {
        clvi_text text = {0};
        append_families(&text, &with, 1);
        printf("drawing %d classes of %d + %d pictures into %s\n%zu font families for training; "
               "for the test %zu others: %s\n",
               (int)wanted->class_count, (int)wanted->train, (int)wanted->test, wanted->out,
               with.family_count[0], with.family_count[1], clvi_text_get(&text));
        fflush(stdout);
        clvi_text_fini(&text);
    }
    if (status == CLV_OK)
        status = fill_set(&with, temporary, error);
    maker_fini(&with);
    return status;
}

/* Removes what an earlier, interrupted call left at `path`. Errors: CLV_E_IO when it is something
 * else. */
static clv_status clear(const char *path, clv_error *error)
{
    occupant found;
    CLV_TRY(look_at(path, NULL, &found, error));
    if (found == OCCUPANT_FOREIGN)
        CLV_FAIL(error, CLV_E_IO,
                 "%s exists and holds what this program did not make; name another folder", path);
    return found == OCCUPANT_NONE ? CLV_OK : remove_tree(path, error);
}

/* `temporary` and `aside` are names beside wanted->out. */
static clv_status run_beside(const parameters *wanted, const char *temporary, const char *aside,
                             clv_error *error)
{
    clvi_text head = {0};
    occupant here, old;
    CLV_TRY(look_at(wanted->out, NULL, &here, error));
    CLV_TRY(look_at(aside, NULL, &old, error));
    /* Stopped between the two renames of put_in_place. */
    if (here == OCCUPANT_NONE && old == OCCUPANT_SET && rename(aside, wanted->out) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "cannot rename %s to %s", aside,
                               wanted->out);
    append_parameters(&head, wanted);
    clv_status status = head.failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory")
                                    : look_at(wanted->out, clvi_text_get(&head), &here, error);
    clvi_text_fini(&head);
    CLV_TRY(status);
    if (here == OCCUPANT_FOREIGN)
        CLV_FAIL(error, CLV_E_IO,
                 "%s exists and holds what this program did not make; name another folder",
                 wanted->out);
    if (here == OCCUPANT_SAME) {
        if (!wanted->quiet)
            printf("%s has these pictures already\n", wanted->out);
        return CLV_OK;
    }
    CLV_TRY(clear(temporary, error));
    CLV_TRY(clear(aside, error));
    CLV_TRY(make_set(wanted, temporary, error));
    return put_in_place(temporary, wanted->out, aside, here == OCCUPANT_SET, error);
}

static clv_status run(const parameters *wanted, clv_error *error)
{
    clvi_text temporary = {0}, aside = {0};
    clvi_text_printf(&temporary, "%s.tmp", wanted->out);
    clvi_text_printf(&aside, "%s.tmp.old", wanted->out);
    const clv_status status =
        temporary.failed || aside.failed
            ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory")
            : run_beside(wanted, clvi_text_get(&temporary), clvi_text_get(&aside), error);
    clvi_text_fini(&temporary);
    clvi_text_fini(&aside);
    return status;
}

/* Reads a whole number within [low, high] for --name. */
static bool read_number(const char *name, const char *text, int64_t low, int64_t high, int64_t *to)
{
    int64_t value;
    if (clvi_parse_int(text, &value) && value >= low && value <= high) {
        *to = value;
        return true;
    }
    fprintf(stderr, "conclave-demo-data: --%s takes a whole number from %lld to %lld, not \"%s\"\n",
            name, (long long)low, (long long)high, text);
    return false;
}

/* Whether a path ends with the name of what it means: what is made beside a folder that is named
 * "set/" or "." would lie in it. Takes '/' from its end first. */
static bool ends_with_name(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Fills *wanted. Returns -1 to go on, else the exit status. */
static int read_options(int argc, char **argv, parameters *wanted)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"size", required_argument, NULL, 's'},
                                            {"train", required_argument, NULL, 't'},
                                            {"test", required_argument, NULL, 'e'},
                                            {"classes", required_argument, NULL, 'c'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *wanted = (parameters){.size = 32, .train = 200, .test = 50, .class_count = CLASS_COUNT};
    bool good = true;
    int letter;
    while (good && (letter = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        switch (letter) {
        case 'o':
            wanted->out = optarg;
            good = ends_with_name(optarg);
            if (!good)
                fprintf(stderr,
                        "conclave-demo-data: --out takes a folder by its name, not \"%s\"\n",
                        optarg);
            break;
        case 's':
            good = read_number("size", optarg, 8, 1024, &wanted->size);
            break;
        case 't':
            good = read_number("train", optarg, 1, 9999, &wanted->train);
            break;
        case 'e':
            good = read_number("test", optarg, 1, 9999, &wanted->test);
            break;
        case 'c':
            good = read_number("classes", optarg, 2, CLASS_COUNT, &wanted->class_count);
            break;
        case 'r':
            good = read_number("seed", optarg, 0, INT64_MAX, &wanted->seed);
            break;
        case 'q':
            wanted->quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default: /* getopt_long has complained */
            good = false;
        }
    }
    if (good && (optind < argc || !wanted->out || !*wanted->out)) {
        fputs(optind < argc ? "conclave-demo-data: takes options only; see --help\n"
                            : "conclave-demo-data: --out DIR is missing; see --help\n",
              stderr);
        good = false;
    }
    return good ? -1 : 2;
}

int main(int argc, char **argv)
{
    parameters wanted;
    const int status = read_options(argc, argv, &wanted);
    if (status >= 0)
        return status;
    clv_error error = CLV_ERROR_INIT;
    if (run(&wanted, &error) != CLV_OK) {
        fprintf(stderr, "conclave-demo-data: %s\n", error.message);
        return clv_status_exit_code((clv_status)error.status);
    }
    return 0;
}
