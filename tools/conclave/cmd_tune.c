/* conclave tune: measures which sizes of kernels, and which provider of matrix products, are the
 * fastest on a device, and writes that as the user's tuning record. */
#define _POSIX_C_SOURCE 200809L
#include "config_args.h"
#include "tune/measure.h"

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "runtime/tuned.h"
#include "train/settings.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Time for the search, behind the first steps with the shipped record, which may have to be built.
 */
enum { QUICK_SECONDS = 50, LONG_SECONDS = 300, QUICK_ROUNDS = 7, LONG_ROUNDS = 15, WIDTH = 34 };
/* Shares of the time: until then sizes are tried, then products. The rest is for the last word. */
static const double search_share = 0.75, product_share = 0.85;

/* What is measured where nothing is named. */
static const char *const usual[] = {"cnn-custom-only", "efficientnet-b0-only", "vgg-16-only"};
enum { USUAL = sizeof usual / sizeof *usual };

static const cli_option options[] = {
    {"quick", NULL, "fewer candidates: about a minute for each configuration", 0, false},
    {"max-time", "TIME", "in all, such as 90s or 10m; 5m for each configuration if not given", 0,
     false},
    {"show", NULL, "print the record of the device instead", 0, false},
    {"remove", NULL, "delete the record of the device instead", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session;
    tune_job tune;
    char *path;              /* of the record */
    bool quick, quiet, line; /* line: the terminal shows what is being tried */
    double began, seconds;
    double said;        /* when the last line went to stderr */
    clvi_text products; /* lines of the record */
    size_t clblast;     /* classes of which these change the provider */
} job;

/* ---- What is tried ---- */

static void clear_line(job *j)
{
    if (j->line)
        fputs("\r\033[K", stderr);
    j->line = false;
}

/* What is being tried: redrawn on a terminal, elsewhere a line now and then. */
static void say_trying(job *j, const char *what, double left)
{
    char rest[40] = "";
    const double now = clvi_now();
    if (j->quiet)
        return;
    if (left >= 1)
        snprintf(rest, sizeof rest, ", at most %.0f s left", left);
    if (isatty(STDERR_FILENO)) {
        clear_line(j);
        fprintf(stderr, "trying %s%s", what, rest);
        fflush(stderr);
        j->line = true;
    } else if (now >= j->said + 10) {
        fprintf(stderr, "trying %s%s\n", what, rest);
        j->said = now;
    }
}

static void say(void *user, const char *what, const tune_outcome *outcome, bool taken, double left)
{
    job *j = user;
    if (outcome == NULL) {
        say_trying(j, what, left);
        return;
    }
    clear_line(j);
    if (outcome->dropped[0] != '\0')
        printf("%-*s left out: %s\n", WIDTH, what, outcome->dropped);
    else
        printf("%-*s %.2f times as fast%s\n", WIDTH, what, outcome->gain, taken ? ", taken" : "");
    fflush(stdout);
}

static void say_product(void *user, const tune_product *p)
{
    job *j = user;
    const clvi_gemm *g = &p->shape.gemm;
    char what[120];
    clear_line(j);
    snprintf(what, sizeof what, "%s: %lld x %lld x %lld", clvi_gemm_class_key(p->class),
             (long long)g->m, (long long)g->n, (long long)g->k);
    if (p->dropped[0] != '\0') {
        printf("%-*s left out: %s\n", WIDTH, what, p->dropped);
        return;
    }
    printf("%-*s native %.3f ms, CLBlast %.3f ms\n", WIDTH, what, p->native_ms, p->clblast_ms);
    fflush(stdout);
    j->clblast += p->clblast != p->usual_clblast;
    clvi_text_printf(&j->products,
                     "# %lld x %lld x %lld: native %.3f ms, CLBlast %.3f ms\n%s = %s\n",
                     (long long)g->m, (long long)g->n, (long long)g->k, p->native_ms, p->clblast_ms,
                     clvi_gemm_class_key(p->class), p->clblast ? "clblast" : "native");
}

/* ---- The record ---- */

static void date_of_today(char out[16])
{
    const time_t now = time(NULL);
    struct tm day;
    if (gmtime_r(&now, &day) == NULL || strftime(out, 16, "%Y-%m-%d", &day) == 0)
        snprintf(out, 16, "unknown");
}

/* All of the file. gains: of each network; NULL: the shipped record was best, and the body has at
 * most what it says as well. */
static void compose(const job *j, const char *body, const double *gains, clvi_text *out)
{
    const clvi_device_info *info = clvi_device_get_info(j->session.device);
    clvi_text typed = {0};
    char date[16];
    date_of_today(date);
    cli_command_line(j->args, &typed);
    clvi_text_printf(out,
                     "# Sizes of kernels that were the fastest on one device. Written by\n"
                     "# %.150s\n"
                     "# What stands here changes the shipped record %s. `conclave tune --remove` "
                     "deletes this file.\n",
                     clvi_text_get(&typed), clvi_device_tuning(j->session.device).shipped);
    clvi_text_fini(&typed);
    clvi_tuned_head(info, date, out);
    clvi_text_append(out, "# Measured: steps of training, forward and backward.\n");
    for (size_t i = 0; i < j->tune.count; i++) {
        const tune_network *n = &j->tune.networks[i];
        clvi_text_printf(out, "# %.60s, %dx%d, batch %lld: %.2f ms as shipped", n->name,
                         n->desc.height, n->desc.width, (long long)n->desc.batch, n->shipped_ms);
        if (gains != NULL)
            clvi_text_printf(out, ", %.2f times as fast with this", gains[i]);
        clvi_text_append(out, "\n");
    }
    if (gains == NULL)
        clvi_text_append(out, "# Nothing that was tried was faster than the shipped record.\n");
    clvi_text_append(out, body);
}

static clv_status write_record(const job *j, const clvi_text *text, clv_error *error)
{
    char *folder = clvi_strdup(j->path);
    if (folder == NULL || text->failed) {
        clvi_free(folder);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the tuning record");
    }
    *strrchr(folder, '/') = '\0';
    clv_status status = clvi_make_dirs(folder, 0700, error);
    clvi_free(folder);
    if (status == CLV_OK)
        status = tune_check_stop(error);
    if (status == CLV_OK)
        status = clvi_file_write(j->path, clvi_text_get(text), text->length, error);
    return status;
}

/* ---- Measuring ---- */

static int shipped_of(void *user, const char *key)
{
    return clvi_tuning_int(((const job *)user)->tune.shipped, key);
}

static clv_status measure_of(void *user, const tune_values *best, const tune_values *candidate,
                             tune_outcome *out, clv_error *error)
{
    return tune_measure(&((job *)user)->tune, best, candidate, out, error);
}

/* Whether the whole of it is worth having: measured once more, against the shipped record. Products
 * alone, which were measured apart, may be too small a part of a step to be seen in it. */
static clv_status last_word(job *j, bool sizes, const clvi_text *body, double *gains, bool *good,
                            clv_error *error)
{
    const double least = sizes ? TUNE_GAIN : TUNE_WORST;
    tune_outcome outcome;
    say_trying(j, "all of it together", 0);
    CLV_TRY(tune_confirm(&j->tune, clvi_text_get(body), &outcome, gains, error));
    clear_line(j);
    *good = outcome.dropped[0] == '\0' && outcome.gain >= least && outcome.worst >= TUNE_WORST;
    if (outcome.dropped[0] != '\0')
        printf("%-*s left out: %s\n", WIDTH, "all of it together", outcome.dropped);
    else
        printf("%-*s %.2f times as fast%s\n", WIDTH, "all of it together", outcome.gain,
               *good ? "" : ": the shipped record stays");
    return CLV_OK;
}

static clv_status finish(job *j, const tune_values *values, clv_error *error)
{
    clvi_text body = {0}, whole = {0};
    const bool changes = values->count > 0 || j->clblast > 0;
    bool good = false;
    double *gains = clvi_calloc(j->tune.count, sizeof *gains);
    clv_status status =
        gains != NULL ? CLV_OK : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
    tune_values_text(values, true, &body);
    clvi_text_append(&body, clvi_text_get(&j->products));
    if (status == CLV_OK && changes)
        status = last_word(j, values->count > 0, &body, gains, &good, error);
    if (status == CLV_OK)
        compose(j, good || !changes ? clvi_text_get(&body) : "", good ? gains : NULL, &whole);
    if (status == CLV_OK && (body.failed || j->products.failed))
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the tuning record");
    if (status == CLV_OK)
        status = write_record(j, &whole, error);
    if (status == CLV_OK)
        printf("written: %s\n", j->path);
    clvi_text_fini(&whole);
    clvi_text_fini(&body);
    clvi_free(gains);
    return status;
}

static clv_status search(job *j, clv_error *error)
{
    tune_values values = {0};
    bool whole = true;
    clvi_text body = {0};
    say_trying(j, "the shipped record", 0);
    CLV_TRY(tune_open(&j->tune, error));
    j->began = clvi_now();
    clear_line(j);
    for (size_t i = 0; i < j->tune.count; i++) {
        const tune_network *n = &j->tune.networks[i];
        printf("%s, %dx%d, batch %lld: %.2f ms a step as shipped\n", n->name, n->desc.height,
               n->desc.width, (long long)n->desc.batch, n->shipped_ms);
    }
    fflush(stdout);
    const tune_search s = {.shipped = shipped_of,
                           .measure = measure_of,
                           .say = say,
                           .now = clvi_now,
                           .user = j,
                           .tiled = clvi_device_is_gpu_like(j->tune.shipped),
                           .quick = j->quick,
                           .max_group = clvi_device_get_info(j->session.device)->max_group,
                           .until = j->began + search_share * j->seconds};
    const tune_product_calls calls = {
        .until = j->began + product_share * j->seconds, .each = say_product, .user = j};
    CLV_TRY(tune_search_run(&s, &values, &whole, error));
    if (j->tune.busy)
        printf("other work keeps the processors busy: their time counted, not the clock's\n");
    if (!whole)
        printf("time is over before everything was tried; --max-time gives more\n");
    tune_values_text(&values, false, &body);
    const clv_status status = tune_products(&j->tune, clvi_text_get(&body), &calls, error);
    clvi_text_fini(&body);
    CLV_TRY(status);
    return finish(j, &values, error);
}

/* ---- The command ---- */

/* Arguments that name configurations: those before the first change of a value. */
static size_t name_count(const cli_args *args)
{
    size_t n = 0;
    while (n < cli_count(args) &&
           (strchr(cli_at(args, n), '=') == NULL || clvi_is_file(cli_at(args, n))))
        n++;
    return n;
}

static clv_status load(job *j, clv_error *error)
{
    const size_t names = name_count(j->args);
    j->tune.networks = clvi_calloc(names > 0 ? names : USUAL, sizeof *j->tune.networks);
    if (j->tune.networks == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the configurations");
    for (size_t i = 0; i < (names > 0 ? names : USUAL); i++) {
        tune_network *n = &j->tune.networks[i];
        n->name = names > 0 ? cli_at(j->args, i) : usual[i];
        CLV_TRY(cli_load_named_config(j->args, n->name, names, &n->config, error));
        j->tune.count = i + 1;
        n->desc = (bench_model_desc){.classes = 46, .channels = 3};
        n->desc.batch = clvi_config_int(n->config, "train", "batch");
        clvi_config_size(n->config, "data", "image_size", &n->desc.height, &n->desc.width);
    }
    return CLV_OK;
}

static clv_status read_options(job *j, clv_error *error)
{
    char text[CLI_SECONDS_BYTES];
    const char *time = cli_option_value(j->args, "max-time");
    const bool show = cli_flag(j->args, "show"), removes = cli_flag(j->args, "remove");
    j->quick = cli_flag(j->args, "quick");
    j->quiet = cli_quiet(j->args);
    if (show + removes + (cli_count(j->args) > 0 || j->quick || time != NULL) > 1)
        CLV_FAIL(error, CLV_E_USAGE,
                 "--show and --remove stand alone (with --device): they measure nothing");
    if (time == NULL)
        return CLV_OK;
    CLV_TRY(cli_parse_time(time, text, error));
    if (!clvi_parse_real(text, &j->seconds))
        CLV_FAIL(error, CLV_E_USAGE, "--max-time %s: it is too long", time);
    return CLV_OK;
}

static clv_status show(const job *j, clv_error *error)
{
    const clvi_tuning_state state = clvi_device_tuning(j->session.device);
    char *text = NULL;
    size_t bytes = 0;
    if (!clvi_is_file(j->path)) {
        printf("no record of this device; the shipped record %s counts\n", state.shipped);
        return CLV_OK;
    }
    CLV_TRY(clvi_file_read(j->path, 1 << 20, &text, &bytes, error));
    printf("# %s%s\n", j->path, state.path != NULL ? "" : " (not in force)");
    fwrite(text, 1, bytes, stdout);
    clvi_free(text);
    return CLV_OK;
}

static clv_status remove_record(const job *j, clv_error *error)
{
    if (!clvi_is_file(j->path)) {
        puts("there is no record of this device");
        return CLV_OK;
    }
    if (remove(j->path) != 0)
        CLV_FAIL(error, CLV_E_IO, "%s cannot be deleted", j->path);
    printf("deleted: %s\n", j->path);
    return CLV_OK;
}

static clv_status measure(job *j, clv_error *error)
{
    tune_job *t = &j->tune;
    const clvi_device_options wanted = clvi_train_device_options(t->networks[0].config);
    t->session = &j->session;
    t->quick = j->quick;
    t->rounds = j->quick ? QUICK_ROUNDS : LONG_ROUNDS;
    if (clvi_env_get(CLVI_ENV_TUNING) != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "%s chooses another record, which would leave this one out",
                 clvi_env_name(CLVI_ENV_TUNING));
    if (j->seconds <= 0)
        j->seconds = (double)t->count * (j->quick ? QUICK_SECONDS : LONG_SECONDS);
    cli_catch_signals();
    CLV_TRY(tune_open_device(t, &wanted, "", &t->shipped, error));
    const clv_status status = search(j, error);
    clear_line(j);
    tune_close(t);
    clvi_device_close(t->shipped);
    return status;
}

static clv_status tune(job *j, clv_error *error)
{
    CLV_TRY(read_options(j, error));
    CLV_TRY(load(j, error));
    CLV_TRY(cli_session_open_device(&j->session, j->tune.networks[0].config, NULL, error));
    j->path = clvi_tuned_path(clvi_device_get_info(j->session.device));
    if (j->path == NULL)
        CLV_FAIL(error, CLV_E_IO,
                 "there is no cache folder for the record: set CONCLAVE_CACHE_DIR, and not "
                 "CONCLAVE_CACHE=0");
    if (cli_flag(j->args, "show"))
        return show(j, error);
    if (cli_flag(j->args, "remove"))
        return remove_record(j, error);
    return measure(j, error);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = tune(&j, error);
    for (size_t i = 0; i < j.tune.count; i++)
        clvi_config_destroy(j.tune.networks[i].config);
    clvi_free(j.tune.networks);
    clvi_text_fini(&j.products);
    clvi_free(j.path);
    cli_session_close(&j.session);
    return status;
}

const cli_command cmd_tune = {
    .name = "tune",
    .summary = "Measure which sizes of kernels are the fastest on a device",
    .usage = "[--quick] [CONFIG]... [SECTION.KEY=VALUE]... [options] | --show | --remove",
    .example = "conclave tune --quick efficientnet-b0-only\n"
               "conclave tune --device gpu\n"
               "conclave tune --remove",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
