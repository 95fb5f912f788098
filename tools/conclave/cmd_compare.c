/* conclave compare: models beside each other, trained where they are not yet. */
#include "compare/contest.h"
#include "show.h"

#include "report/experts.h"
#include "report/sources.h"
#include "train/run_dir.h"

#include <stdlib.h>
#include <unistd.h>

/* Everything that is printed fits into so many columns. */
enum { COLUMNS = 100 };

static const cli_option options[] = {
    {"seeds", "N", "runs of each configuration, from run.seed on; 1 if not given", 0, false},
    {"grid", "KEY=A,B", "a model for each value of SECTION.KEY (';' between lists)", 0, true},
    {"reference", "NAME", "compare with this model; the best single one on validation if not given",
     0, false},
    {"on-cached", "RUN,RUN",
     "fuse the frozen experts of these runs as each CONFIG does, or in every way", 0, false},
    {"max-time", "TIME", "train each for 90s, 10m, 2h, …: train.max_seconds", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* ---- Printing ---- */

/* Columns left for the models' names. */
static int room_for_names(const clvi_report_table *t)
{
    int room = COLUMNS;
    for (size_t c = 1; c < t->column_count; c++) {
        if (t->columns[c].wide)
            continue;
        int width = clvi_text_columns(t->columns[c].heading);
        for (size_t i = c; i < t->count; i += t->column_count)
            if (clvi_text_columns(t->cells[i]) > width)
                width = clvi_text_columns(t->cells[i]);
        room -= 2 + width;
    }
    return room > 16 ? room : 16;
}

/* A name that is too long without its middle: codes of mixtures differ at both ends. Names are
 * ASCII but for what a user typed; then it may come out shorter. */
static const char *fit(const char *name, int room, char *out, size_t bytes)
{
    const size_t length = strlen(name);
    if (clvi_text_columns(name) <= room || (size_t)room >= bytes)
        return name;
    size_t head = (size_t)(room - 2) / 2, tail = (size_t)room - 2 - head;
    while (head > 0 && ((unsigned char)name[head] & 0xC0) == 0x80)
        head--;
    while (tail > 0 && ((unsigned char)name[length - tail] & 0xC0) == 0x80)
        tail--;
    snprintf(out, bytes, "%.*s..%s", (int)head, name, name + length - tail);
    return out;
}

/* Words of a sentence in lines of at most COLUMNS. */
static void print_wrapped(const char *text)
{
    int used = 0;
    for (const char *at = text; *at != '\0';) {
        const size_t length = strcspn(at, " ");
        char word[600];
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        const int width = clvi_text_columns(word);
        if (used > 0 && used + 1 + width > COLUMNS) {
            putchar('\n');
            used = 0;
        }
        printf("%s%s", used > 0 ? " " : "", word);
        used += width + (used > 0);
        at += length + strspn(at + length, " ");
    }
    putchar('\n');
}

static clv_status print_table(const clvi_report_table *t, clv_error *error)
{
    enum { MOST = 16 };
    cli_column columns[MOST];
    cli_table out;
    char name[COLUMNS + 1];
    size_t count = 0;
    if (t->count == 0)
        return CLV_OK;
    const int room = room_for_names(t);
    for (size_t c = 0; c < t->column_count && count < MOST; c++)
        if (!t->columns[c].wide)
            columns[count++] = (cli_column){t->columns[c].heading, t->columns[c].right, false};
    printf("%s\n\n", t->title);
    CLV_TRY(cli_table_init(&out, columns, count, error));
    for (size_t i = 0; i < t->count; i++) {
        const size_t c = i % t->column_count;
        if (c == 0)
            cli_table_cell(&out, "%s", fit(t->cells[i], room, name, sizeof name));
        else if (!t->columns[c].wide)
            cli_table_cell(&out, "%s", t->cells[i]);
    }
    CLV_TRY(cli_table_print(&out, stdout, error));
    putchar('\n');
    if (t->note != NULL) {
        print_wrapped(t->note);
        putchar('\n');
    }
    return CLV_OK;
}

static clv_status print_tables(const clvi_comparison *c, clv_error *error)
{
    clvi_report_table tables[CLVI_COMPARISON_TABLES];
    CLV_TRY(clvi_comparison_tables(c, tables, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < CLVI_COMPARISON_TABLES; i++) {
        if (status == CLV_OK)
            status = print_table(&tables[i], error);
        clvi_report_table_fini(&tables[i]);
    }
    return status;
}

/* ---- Files ---- */

/* Writes `text`, which is freed, as OUTPUT/LABELsuffix; *path, where it is not NULL, gets the name,
 * for the caller to free. */
static clv_status write_file(const plan *p, const char *suffix, clvi_text *text, char **path,
                             clv_error *error)
{
    clvi_text name = {0};
    clvi_text_printf(&name, "%s/%s%s", p->output, p->label, suffix);
    clv_status status;
    if (name.failed || text->failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the tables");
    else
        status = clvi_file_write(name.data, clvi_text_get(text), text->length, error);
    clvi_text_fini(text);
    if (status == CLV_OK && path != NULL)
        *path = name.data;
    else
        clvi_text_fini(&name);
    return status;
}

static clv_status write_files(const plan *p, char **page, clv_error *error)
{
    const clvi_comparison *c = p->comparison;
    clvi_text text = {0};
    CLV_TRY(clvi_make_dirs(p->output, 0755, error));
    clvi_comparison_csv(c, &text);
    CLV_TRY(write_file(p, ".csv", &text, NULL, error));
    clvi_comparison_runs_csv(c, &text);
    CLV_TRY(write_file(p, "-runs.csv", &text, NULL, error));
    clvi_experts_csv(c, &text);
    CLV_TRY(write_file(p, "-experts.csv", &text, NULL, error));
    clvi_sources_csv(c, &text);
    CLV_TRY(write_file(p, "-sources.csv", &text, NULL, error));
    clv_status status = clvi_comparison_markdown(c, &text, error);
    if (status == CLV_OK)
        status = write_file(p, ".md", &text, NULL, error);
    clv_error fault = CLV_ERROR_INIT;
    if (status == CLV_OK && (status = clvi_comparison_html(c, &text, &fault)) != CLV_OK)
        status = clvi_fail(error, status, CLV_HERE, "%s/%s.html: %s", p->output, p->label,
                           fault.message);
    if (status == CLV_OK)
        status = write_file(p, ".html", &text, page, error);
    clvi_text_fini(&text);
    return status;
}

/* ---- The command ---- */

/* *all: the failed ones as well. */
static size_t count_failed(const clvi_comparison *c, size_t *all)
{
    size_t count = 0;
    *all = 0;
    for (size_t i = 0; i < c->count; i++) {
        *all += c->contestants[i].run_count;
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            count += c->contestants[i].runs[k].record.path == NULL;
    }
    return count;
}

static clv_status compare(const cli_args *args, plan *p, clv_error *error)
{
    clvi_comparison *c = p->comparison;
    char *page = NULL;
    const char *reference = cli_option_value(args, "reference");
    size_t index;
    if (reference != NULL) /* before anything is trained */
        CLV_TRY(clvi_comparison_find(c, reference, &index, error));
    cli_catch_signals();
    CLV_TRY(contest_run(p, args, &cli_stop_asked, error));
    clvi_text typed = {0};
    cli_command_line(args, &typed);
    c->command = typed.failed ? NULL : clvi_arena_strdup(p->arena, clvi_text_get(&typed));
    clvi_text_fini(&typed);
    c->title = clvi_arena_printf(p->arena, "Comparison of %zu %s", c->count,
                                 c->count == 1 ? "model" : "models");
    if (c->title == NULL || c->command == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the comparison");
    CLV_TRY(clvi_comparison_judge(c, reference, error));
    CLV_TRY(write_files(p, &page, error));
    const clv_status status = print_tables(c, error);
    if (status == CLV_OK)
        printf("page   %s\ntables %s/%s.csv, with -runs.csv, -experts.csv, -sources.csv, .md\n",
               page, p->output, p->label);
    clvi_free(page);
    CLV_TRY(status);
    size_t all;
    const size_t failed = count_failed(c, &all);
    if (failed > 0)
        CLV_FAIL(error, CLV_E_DATA, "%zu of %zu runs failed; the tables say why", failed, all);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    cli_session session;
    clvi_comparison comparison = {0};
    plan p = {0};
    CLV_TRY(cli_session_open(&session, args, error));
    clv_status status = plan_make(args, session.plugins, &comparison, &p, error);
    if (status == CLV_OK)
        status = compare(args, &p, error);
    plan_fini(&p);
    clvi_comparison_fini(&comparison);
    cli_session_close(&session);
    return status;
}

const cli_command cmd_compare = {
    .name = "compare",
    .summary = "Train what is missing, then show models beside each other",
    .usage = "CONFIG|SUITE|RUN... [SECTION.KEY=VALUE]... [options]",
    .example = "conclave compare demo --data pictures\n"
               "conclave compare cnn-custom-only --data pictures --seeds 3 --grid "
               "optimizer.lr=0.001,0.003\n"
               "conclave compare runs/first runs/second\n"
               "conclave compare --on-cached runs/first,runs/second --grid "
               "gate.plugin=average,linear,cnn",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
