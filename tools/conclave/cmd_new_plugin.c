/* conclave new-plugin: a small project that builds an expert or a gate beside an installed
 * Conclave. The files are those of new_plugin/, with the plugin's name put in. */
#include "command.h"

#include "base/files.h"
#include "plugin/plugin_host.h"

#include "new_plugin_files.h" /* arrays, written by the build from new_plugin/ */

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3 };

/* A file to be written, and what it is made from. */
typedef struct made {
    char name[CLVI_PLUGIN_NAME_BYTES + 16];
    const unsigned char *text;
} made;

/* What is to be made. */
typedef struct plan {
    const char *kind, *name;
    char folder[4096];
    made files[FILES];
} plan;

/* Text with @KIND@ and @NAME@ replaced. */
static void fill_in(const plan *p, const char *text, clvi_text *out)
{
    for (const char *at; (at = strchr(text, '@')) != NULL; text = at) {
        clvi_text_append_n(out, text, (size_t)(at - text));
        if (strncmp(at, "@KIND@", 6) == 0 || strncmp(at, "@NAME@", 6) == 0) {
            clvi_text_append(out, at[1] == 'K' ? p->kind : p->name);
            at += 6;
        } else {
            clvi_text_append_n(out, at++, 1);
        }
    }
    clvi_text_append(out, text);
}

static clv_status write_one(const plan *p, const made *file, clv_error *error)
{
    clvi_text text = {0};
    char *path = clvi_path_join(p->folder, file->name);
    fill_in(p, (const char *)file->text, &text);
    const char *whole = clvi_text_get(&text);
    clv_status status;
    if (path == NULL || whole == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: %s", file->name);
    else
        status = clvi_file_write(path, whole, strlen(whole), error);
    clvi_free(path);
    clvi_text_fini(&text);
    return status;
}

/* Takes away what was written before something failed. */
static void undo(const plan *p)
{
    for (int i = 0; i < FILES; i++) {
        char *path = clvi_path_join(p->folder, p->files[i].name);
        if (path != NULL)
            unlink(path);
        clvi_free(path);
    }
    rmdir(p->folder);
}

static clv_status check_name(const plan *p, clv_error *error)
{
    const clv_kind kind = strcmp(p->kind, "gate") == 0 ? CLV_KIND_GATE : CLV_KIND_EXPERT;
    clvi_plugins *plugins = NULL;
    bool taken = false;
    if (!clvi_is_plugin_name(p->name))
        CLV_FAIL(error, CLV_E_USAGE, "\"%s\" is no name of a plugin: give " CLVI_PLUGIN_NAME_RULE,
                 p->name, CLVI_PLUGIN_NAME_BYTES);
    CLV_TRY(clvi_plugins_create(NULL, cli_plugin_dir(), &plugins, error));
    const clv_status status = clvi_plugins_has(plugins, kind, p->name, &taken, error);
    clvi_plugins_destroy(plugins);
    CLV_TRY(status);
    if (taken)
        CLV_FAIL(error, CLV_E_USAGE,
                 "the %s %s is there already, and two of one name cannot be told apart; give "
                 "another name",
                 p->kind, p->name);
    return CLV_OK;
}

static clv_status make_plan(const cli_args *args, plan *p, clv_error *error)
{
    if (cli_count(args) != 2)
        CLV_FAIL(error, CLV_E_USAGE,
                 "new-plugin wants a kind and a name: conclave new-plugin expert mine");
    p->kind = cli_at(args, 0);
    p->name = cli_at(args, 1);
    const bool expert = strcmp(p->kind, "expert") == 0;
    static const char *const kinds[] = {"expert", "gate"};
    const char *near = clvi_nearest(p->kind, kinds, 2);
    if (!expert && strcmp(p->kind, "gate") != 0)
        CLV_FAIL(error, CLV_E_USAGE, "\"%s\" is no kind of plugin: %s%s%s", p->kind,
                 near != NULL ? "did you mean " : "give expert or gate", near != NULL ? near : "",
                 near != NULL ? "?" : "");
    CLV_TRY(check_name(p, error));
    const char *output = cli_option_value(args, "output");
    const int wrote = output != NULL
                          ? snprintf(p->folder, sizeof(p->folder), "%s", output)
                          : snprintf(p->folder, sizeof(p->folder), "%s_%s", p->kind, p->name);
    if (wrote <= 0 || (size_t)wrote >= sizeof(p->folder))
        CLV_FAIL(error, CLV_E_USAGE, "-o is empty or longer than %zu bytes", sizeof(p->folder));
    snprintf(p->files[0].name, sizeof(p->files[0].name), "%s_%s.c", p->kind, p->name);
    p->files[0].text = expert ? expert_c_in : gate_c_in;
    snprintf(p->files[1].name, sizeof(p->files[1].name), "meson.build");
    p->files[1].text = meson_build_in;
    snprintf(p->files[2].name, sizeof(p->files[2].name), "README.md");
    p->files[2].text = expert ? expert_md_in : gate_md_in;
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    plan p = {.kind = NULL};
    CLV_TRY(make_plan(args, &p, error));
    if (mkdir(p.folder, 0777) != 0) {
        if (errno == EEXIST)
            CLV_FAIL(error, CLV_E_USAGE,
                     "%s exists already, and nothing is overwritten; give another folder with -o",
                     p.folder);
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot be made", p.folder);
    }
    clv_status status = CLV_OK;
    for (int i = 0; i < FILES && status == CLV_OK; i++)
        status = write_one(&p, &p.files[i], error);
    if (status != CLV_OK) {
        undo(&p);
        return status;
    }
    if (!cli_quiet(args)) {
        char word[sizeof(p.folder) + 64];
        printf("%s: the %s %s, in %s; next:\n"
               "    cd %s && meson setup build && meson test -C build\n",
               p.folder, p.kind, p.name, p.files[0].name,
               clvi_shell_word(p.folder, word, sizeof(word)));
    }
    return CLV_OK;
}

static const cli_option options[] = {
    {"output", "FOLDER", "the new folder; KIND_NAME if not given", 'o', false},
};

const cli_command cmd_new_plugin = {
    .name = "new-plugin",
    .summary = "Begin an expert or a gate of your own",
    .usage = "expert|gate NAME [options]",
    .details =
        "Writes a folder with a C file (an expert: a small residual network; a gate: a small\n"
        "routing rule), a meson.build that finds Conclave by pkg-config and runs check-plugin as\n"
        "its test, and a README.md.",
    .example = "conclave new-plugin expert mine\n"
               "conclave new-plugin gate choosy -o ~/choosy",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
