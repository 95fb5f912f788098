/* See named.h. Where others keep files: torch.hub ($TORCH_HOME), Keras ($KERAS_HOME),
 * huggingface_hub
 * ($HF_HUB_CACHE, $HF_HOME), where a blob is called by its SHA-256. */
#include "weights/named.h"

#include "base/files.h"
#include "base/process.h"

#include <errno.h>
#include <limits.h>
#include <md5.h>
#include <sha2.h>
#include <unistd.h>

enum { HEX_BYTES = SHA256_DIGEST_LENGTH * 2 + 1, MOST_FOLDERS = 4, MOST_NAMES = 32 };

bool clvi_named_is(const char *text)
{
    static const char *const families[] = {"torchvision:", "timm:", "keras:"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strncmp(text, families[i], strlen(families[i])) == 0)
            return true;
    return false;
}

/* Any of timm's can be named in full, "timm:efficientnet_b0.ra4_e3600_r224_in1k". */
static clv_status find_known(const clvi_named_weights *list, size_t count, const char *name,
                             clvi_named_weights *out, clv_error *error)
{
    static const char family[] = "timm:";
    const char *names[MOST_NAMES];
    CLV_ASSERT(count <= MOST_NAMES);
    for (size_t i = 0; i < count; i++) {
        names[i] = list[i].name;
        if (clvi_name_equal(name, list[i].name)) {
            *out = list[i];
            return CLV_OK;
        }
    }
    const char *tag = strchr(name, '.');
    if (strncmp(name, family, strlen(family)) == 0 && tag && !strchr(name, '/') &&
        !strstr(name, "..")) {
        *out = (clvi_named_weights){
            .name = name, .keeper = CLVI_KEPT_BY_HUB, .files = {name + strlen(family)}};
        return CLV_OK;
    }
    char shown[96];
    const char *near = clvi_nearest(name, names, count);
    clvi_printable(name, shown, sizeof shown);
    if (near)
        CLV_FAIL(error, CLV_E_CONFIG, "there are no weights '%s'; did you mean %s?", shown, near);
    CLV_FAIL(error, CLV_E_CONFIG,
             "there are no weights '%s'; known are torchvision:, timm: and keras: with "
             "efficientnet_b0 or vgg16, and timm:MODEL.TAG",
             shown);
}

/* ---- Folders ---- */

/* Folders to look in; each clvi_free'd. */
typedef struct folders {
    char *items[MOST_FOLDERS];
    size_t count;
    const char *own; /* Conclave's, the last of them; NULL: nothing says where it is */
    bool failed;
} folders;

static void add_folder(folders *f, const char *base, const char *rest)
{
    if (!base || f->failed)
        return;
    char *folder = *rest ? clvi_path_join(base, rest) : clvi_strdup(base);
    f->failed = !folder;
    if (folder)
        f->items[f->count++] = folder;
}

/* The first of: $VARIABLE/rest, $XDG…/rest_of_base, ~/fallback/rest_of_base. */
static void add_place(folders *f, clvi_env variable, const char *rest, clvi_env base,
                      const char *fallback, const char *rest_of_base)
{
    const char *given = clvi_env_get(variable), *xdg = clvi_env_get(base);
    char *home =
        clvi_env_get(CLVI_ENV_HOME) ? clvi_path_join(clvi_env_get(CLVI_ENV_HOME), fallback) : NULL;
    if (given)
        add_folder(f, given, rest);
    else
        add_folder(f, xdg ? xdg : home, rest_of_base);
    clvi_free(home);
}

static void list_folders(const clvi_named_weights *k, folders *f)
{
    *f = (folders){0};
    if (k->keeper == CLVI_KEPT_BY_TORCH)
        add_place(f, CLVI_ENV_TORCH_HOME, "hub/checkpoints", CLVI_ENV_XDG_CACHE_HOME, ".cache",
                  "torch/hub/checkpoints");
    else if (k->keeper ==
             CLVI_KEPT_BY_KERAS) /* Keras knows no XDG folder: HOME stands in its place */
        add_place(f, CLVI_ENV_KERAS_HOME, "models", CLVI_ENV_HOME, "", ".keras/models");
    else if (clvi_env_get(CLVI_ENV_HF_HUB_CACHE))
        add_folder(f, clvi_env_get(CLVI_ENV_HF_HUB_CACHE), "");
    else
        add_place(f, CLVI_ENV_HF_HOME, "hub", CLVI_ENV_XDG_CACHE_HOME, ".cache", "huggingface/hub");
    const size_t others = f->count;
    add_place(f, CLVI_ENV_WEIGHTS, "", CLVI_ENV_XDG_DATA_HOME, ".local/share", "conclave/weights");
    f->own = f->count > others ? f->items[others] : NULL;
}

static void folders_fini(folders *f)
{
    for (size_t i = 0; i < f->count; i++)
        clvi_free(f->items[i]);
}

/* ---- Hashes ---- */

/* SHA-256 and MD5 of a file in hexadecimal digits. */
static clv_status hash_file(const char *path, char sha[HEX_BYTES],
                            char md5[MD5_DIGEST_STRING_LENGTH], clv_error *error)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return clvi_fail_open(error, errno, CLV_HERE, path, "cannot open");
    unsigned char block[65536];
    SHA2_CTX sha_state;
    MD5_CTX md5_state;
    SHA256Init(&sha_state);
    MD5Init(&md5_state);
    size_t got;
    while ((got = fread(block, 1, sizeof block, file)) > 0) {
        SHA256Update(&sha_state, block, got);
        MD5Update(&md5_state, block, got);
    }
    const bool good = !ferror(file);
    fclose(file);
    SHA256End(&sha_state, sha);
    MD5End(&md5_state, md5);
    if (!good)
        CLV_FAIL(error, CLV_E_IO, "%s: cannot read", path);
    return CLV_OK;
}

/* The name of the blob that a file of Hugging Face's cache is a link to: its SHA-256; "" where it
 * is none. */
static void blob_hash(const char *path, char out[HEX_BYTES])
{
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    out[0] = '\0';
    if (length <= 0)
        return;
    target[length] = '\0';
    const char *name = clvi_path_name(target);
    if (strlen(name) == HEX_BYTES - 1 && strspn(name, "0123456789abcdef") == HEX_BYTES - 1)
        memcpy(out, name, HEX_BYTES);
}

/* Compares a file with what it should be. *good: it is that; the note says what was compared, or
 * what is wrong. */
static clv_status check_hash(const clvi_named_weights *k, const char *path, bool *good,
                             clvi_text *note, clv_error *error)
{
    char sha[HEX_BYTES], md5[MD5_DIGEST_STRING_LENGTH], blob[HEX_BYTES] = "";
    if (k->keeper == CLVI_KEPT_BY_HUB)
        blob_hash(path, blob);
    *good = true;
    if (k->keeper == CLVI_KEPT_BY_HUB && !*blob) {
        clvi_text_printf(note, "there is no hash to compare");
        return CLV_OK;
    }
    CLV_TRY(hash_file(path, sha, md5, error));
    const char *kind = k->keeper == CLVI_KEPT_BY_KERAS ? "MD5" : "SHA-256";
    const char *got = k->keeper == CLVI_KEPT_BY_KERAS ? md5 : sha;
    const char *wanted = *blob ? blob : k->hashes[0];
    const char *later = *blob ? NULL : k->hashes[1];
    if (strncmp(got, wanted, strlen(wanted)) == 0) {
        clvi_text_printf(note, "%s %.8s as it should be", kind, got);
    } else if (later && strncmp(got, later, strlen(later)) == 0) {
        clvi_text_printf(note, "%s %s, which later replaced %s", kind, later, wanted);
    } else {
        clvi_text_printf(note, "%s has the %s %.8s… and should have %.8s…", path, kind, got,
                         wanted);
        *good = false;
    }
    return CLV_OK;
}

/* ---- Looking ---- */

typedef struct search {
    const clvi_named_weights *known;
    char *path;
    clvi_text note, damaged; /* damaged: what is wrong with files that were passed over */
} search;

/* Takes a file if it is there and good. Takes over `path`, which may be NULL. */
static clv_status try_file(search *s, char *path, clv_error *error)
{
    if (!path)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look for %s", s->known->name);
    bool good = false;
    clvi_text note = {0};
    clv_status status = CLV_OK;
    if (clvi_is_file(path))
        status = check_hash(s->known, path, &good, &note, error);
    if (status == CLV_OK && good) {
        s->path = path;
        s->note = note;
        return CLV_OK;
    }
    if (note.length > 0)
        clvi_text_printf(&s->damaged, "%s%s", s->damaged.length > 0 ? "; " : "", note.data);
    clvi_text_fini(&note);
    clvi_free(path);
    return status;
}

/* A revision's model.safetensors. */
static clv_status try_revision(search *s, const char *model, const char *revision, clv_error *error)
{
    clvi_text path = {0};
    if (strchr(revision, '/') || strcmp(revision, "..") == 0)
        return CLV_OK;
    clvi_text_printf(&path, "%s/snapshots/%s/model.safetensors", model, revision);
    return try_file(s, path.failed ? NULL : path.data, error);
}

/* In a hub's cache: the revision that `main` means, then any other. */
static clv_status try_hub(search *s, const char *hub, clv_error *error)
{
    clvi_text model = {0}, other = {0};
    clvi_text_printf(&model, "%s/models--timm--%s", hub, s->known->files[0]);
    clvi_text_printf(&other, "%s/refs/main", clvi_text_get(&model));
    char *revision = NULL, **names = NULL;
    size_t bytes = 0, count = 0;
    clv_status status = model.failed || other.failed ? CLV_E_MEMORY : CLV_OK;
    if (status == CLV_OK && clvi_is_file(other.data) &&
        clvi_file_read(other.data, 256, &revision, &bytes, NULL) == CLV_OK)
        revision[strcspn(revision, "\r\n")] = '\0';
    if (status == CLV_OK && revision)
        status = try_revision(s, model.data, revision, error);
    other.length = 0;
    clvi_text_printf(&other, "%s/snapshots", clvi_text_get(&model));
    if (status == CLV_OK && !s->path && !other.failed && clvi_is_dir(other.data))
        status = clvi_dir_list(other.data, &names, &count, error);
    for (size_t i = count; i-- > 0 && status == CLV_OK && !s->path;)
        status = try_revision(s, model.data, names[i], error);
    clvi_names_free(names, count);
    clvi_free(revision);
    clvi_text_fini(&model);
    clvi_text_fini(&other);
    if (status == CLV_E_MEMORY)
        CLV_FAIL(error, status, "no memory to look for %s", s->known->name);
    return status;
}

static clv_status look(search *s, const folders *f, clv_error *error)
{
    const clvi_named_weights *k = s->known;
    for (size_t i = 0; i < f->count && !s->path; i++) {
        const bool own = f->items[i] == f->own;
        if (k->keeper == CLVI_KEPT_BY_HUB && !own) {
            CLV_TRY(try_hub(s, f->items[i], error));
        } else if (k->keeper == CLVI_KEPT_BY_HUB) {
            clvi_text path = {0};
            clvi_text_printf(&path, "%s/%s.safetensors", f->items[i], k->files[0]);
            CLV_TRY(try_file(s, path.failed ? NULL : path.data, error));
        } else {
            for (int n = 0; n < 2 && k->files[n] && !s->path; n++)
                CLV_TRY(try_file(s, clvi_path_join(f->items[i], k->files[n]), error));
        }
    }
    return CLV_OK;
}

/* Says where to get it. */
static clv_status not_found(const search *s, const folders *f, clv_error *error)
{
    const clvi_named_weights *k = s->known;
    const bool hub = k->keeper == CLVI_KEPT_BY_HUB;
    clvi_text get = {0};
    if (s->damaged.length > 0)
        CLV_FAIL(error, CLV_E_DATA, "%s: %s; delete it and get it again", k->name, s->damaged.data);
    if (hub)
        clvi_text_printf(
            &get, "https://huggingface.co/timm/%s/resolve/main/model.safetensors%s%s%s",
            k->files[0], k->size ? " (" : "", k->size ? k->size : "", k->size ? ")" : "");
    else
        clvi_text_printf(&get, "%s (%s) from %s", k->files[0], k->size, k->url);
    const char *suffix = hub ? ".safetensors" : "", *file = hub ? k->files[0] : "";
    if (f->own)
        (void)clvi_fail(error, CLV_E_DATA, CLV_HERE,
                        "%s is not on this machine: get %s and put it %s %s%s%s%s", k->name,
                        clvi_text_get(&get), hub ? "at" : "into", f->own, hub ? "/" : "", file,
                        suffix);
    else
        (void)clvi_fail(error, CLV_E_DATA, CLV_HERE,
                        "%s is not on this machine: get %s; set CONCLAVE_WEIGHTS to a folder and "
                        "put it there%s%s%s",
                        k->name, clvi_text_get(&get), hub ? " as " : "", file, suffix);
    clvi_text_fini(&get);
    return CLV_E_DATA;
}

clv_status clvi_named_find_in(const clvi_named_weights *list, size_t count, const char *name,
                              char **path, char **note, clv_error *error)
{
    clvi_named_weights k;
    folders f;
    CLV_TRY(find_known(list, count, name, &k, error));
    list_folders(&k, &f);
    search s = {.known = &k};
    clv_status status = CLV_OK;
    if (f.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to look for %s", name);
    if (status == CLV_OK)
        status = look(&s, &f, error);
    if (status == CLV_OK && !s.path)
        status = not_found(&s, &f, error);
    folders_fini(&f);
    clvi_text_fini(&s.damaged);
    if (status != CLV_OK) {
        clvi_free(s.path);
        clvi_text_fini(&s.note);
        return status;
    }
    *path = s.path;
    *note = s.note.data;
    return CLV_OK;
}

clv_status clvi_named_find(const char *name, char **path, char **note, clv_error *error)
{
    return clvi_named_find_in(clvi_named_list, clvi_named_count, name, path, note, error);
}

const char *clvi_named_option(const char *name, const char **value)
{
    static const char tensorflow[] = "timm:tf_efficientnet";
    if (strncmp(name, tensorflow, sizeof tensorflow - 1) != 0)
        return NULL;
    *value = "keras";
    return "variant";
}
