/* Draws the progress of training. Every character that is used is one column wide. */
#include "progress.h"

#include "base/clock.h"
#include "base/process.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PIECE_BYTES = 64, MOST_PIECES = 10, BAR_LEAST = 8, BAR_MOST = 24, EIGHTHS = 8 };

static const double redraw_seconds = 0.1, plain_seconds = 10.0;

struct cli_progress {
    FILE *stream;
    bool quiet;
    cli_progress_style style; /* columns: 0 or not; the width is asked for at each line */
    pthread_mutex_t lock;
    double last;     /* time of the last line */
    int drawn_width; /* columns of the line that stands on the terminal now */
};

/* Whether the user's locale, which the program need not have set, writes UTF-8. */
static bool locale_is_utf8(void)
{
    const locale_t user = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    if (user == (locale_t)0)
        return false;
    const bool utf8 = strcmp(nl_langinfo_l(CODESET, user), "UTF-8") == 0;
    freelocale(user);
    return utf8;
}

clv_status cli_progress_create(FILE *stream, bool quiet, cli_progress **out, clv_error *error)
{
    cli_progress *display = clvi_calloc(1, sizeof(*display));
    if (display == NULL || pthread_mutex_init(&display->lock, NULL) != 0) {
        clvi_free(display);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the progress display");
    }
    const bool terminal = isatty(fileno(stream)) == 1;
    display->stream = stream;
    display->quiet = quiet;
    display->style.columns = terminal ? 80 : 0;
    display->style.utf8 = terminal && locale_is_utf8();
    const char *term = clvi_env_get(CLVI_ENV_TERM);
    display->style.color = terminal && clvi_env_get(CLVI_ENV_NO_COLOR) == NULL &&
                           (term == NULL || strcmp(term, "dumb") != 0);
    display->last = terminal ? -INFINITY : clvi_now();
    *out = display;
    return CLV_OK;
}

void cli_progress_destroy(cli_progress *display)
{
    if (display == NULL)
        return;
    cli_progress_clear(display);
    pthread_mutex_destroy(&display->lock);
    clvi_free(display);
}

/* A part of the line. Pieces are placed by rank, lowest first, as long as there is room. */
typedef struct piece {
    char text[PIECE_BYTES];
    int columns, rank;
    const char *color; /* escape sequence, or NULL */
    bool bar, shown;
} piece;

typedef struct line {
    piece pieces[MOST_PIECES];
    int count;
} line;

static piece *add(line *into, int rank, const char *text)
{
    CLV_ASSERT(into->count < MOST_PIECES && strlen(text) < PIECE_BYTES);
    piece *added = &into->pieces[into->count++];
    *added = (piece){.rank = rank};
    snprintf(added->text, sizeof(added->text), "%s", text);
    added->columns = clvi_text_columns(added->text);
    return added;
}

/* "2310" as "2,310". */
static void append_grouped(clvi_text *text, double value)
{
    char digits[32];
    const int length = snprintf(digits, sizeof(digits), "%.0f", fmin(value, 1e15));
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            clvi_text_append(text, ",");
        clvi_text_append_n(text, digits + i, 1);
    }
}

/* "0:12", "1:02:03". */
static void append_time(clvi_text *text, double seconds)
{
    const int64_t whole = (int64_t)fmin(fmax(seconds, 0.0) + 0.5, 1e9);
    if (whole >= 3600)
        clvi_text_printf(text, "%" PRId64 ":%02d:%02d", whole / 3600, (int)(whole / 60 % 60),
                         (int)(whole % 60));
    else
        clvi_text_printf(text, "%d:%02d", (int)(whole / 60), (int)(whole % 60));
}

/* Adds "label number unit" unless the number is not known. */
typedef enum figure { LOSS, SHARE, SPEED, TIME } figure;
static void add_figure(line *into, int rank, figure kind, const char *label, double value)
{
    if (!isfinite(value))
        return;
    clvi_text text = {0};
    switch (kind) {
    case LOSS:
        clvi_text_printf(&text, fabs(value) < 1000 ? "%s %.3f" : "%s %.3g", label, value);
        break;
    case SHARE:
        clvi_text_printf(&text, "%s %.1f %%", label, 100.0 * fmin(fmax(value, 0.0), 1.0));
        break;
    case SPEED:
        if (value < 9.95)
            clvi_text_printf(&text, "%.1f", fmax(value, 0.0));
        else
            append_grouped(&text, value);
        clvi_text_append(&text, label);
        break;
    case TIME:
        append_time(&text, value);
        clvi_text_append(&text, label);
        break;
    }
    add(into, rank, clvi_text_get(&text));
    clvi_text_fini(&text);
}

static void add_head(line *into, const clvi_progress *now)
{
    static const char *const names[] = {"train", "val", "test", "epoch", "predict"};
    clvi_text text = {0};
    if (now->epoch > 0) {
        char epochs[24];
        const int width = snprintf(epochs, sizeof(epochs), "%" PRId64, now->epochs);
        clvi_text_printf(&text, "epoch %*" PRId64 "/%s", width, now->epoch, epochs);
    }
    if (now->epoch <= 0 || now->phase == CLVI_PROGRESS_VAL || now->phase == CLVI_PROGRESS_TEST)
        clvi_text_printf(&text, "%s%s", now->epoch > 0 ? " " : "", names[now->phase]);
    add(into, 0, clvi_text_get(&text));
    clvi_text_fini(&text);
}

static double fraction_done(const clvi_progress *now)
{
    if (now->steps <= 0)
        return 0.0;
    return fmin(fmax((double)now->step / (double)now->steps, 0.0), 1.0);
}

static void fill_line(const cli_progress_style *style, const clvi_progress *now, line *into)
{
    add_head(into, now);
    if (now->phase == CLVI_PROGRESS_EPOCH) {
        add_figure(into, 3, LOSS, "loss", now->loss);
        add_figure(into, 4, SHARE, "acc", now->top1);
        add_figure(into, 2, LOSS, "val loss", now->val_loss);
        add_figure(into, 1, SHARE, "val acc", now->val_top1);
        add_figure(into, 7, SPEED, " img/s", now->images_per_second);
        add_figure(into, 6, TIME, "", now->seconds);
        if (now->best)
            add(into, 5, "best")->color = "\033[32m";
        return;
    }
    if (style->columns > 0) {
        piece *bar = add(into, 4, "");
        bar->bar = true;
        bar->columns = BAR_LEAST + 2;
        bar->color = "\033[36m";
    }
    char percent[PIECE_BYTES];
    snprintf(percent, sizeof(percent), "%3d %%", (int)(100.0 * fraction_done(now)));
    add(into, 1, percent);
    add_figure(into, 3, LOSS, "loss", now->loss);
    add_figure(into, 5, SHARE, "acc", now->top1);
    add_figure(into, 6, SPEED, " img/s", now->images_per_second);
    add_figure(into, 2, TIME, " left", now->seconds_left);
}

/* Chooses what is shown and how wide the bar is. */
static void fit(line *what, int limit)
{
    int used = 0;
    for (int rank = 0; rank < MOST_PIECES; rank++) {
        for (int i = 0; i < what->count; i++) {
            piece *one = &what->pieces[i];
            const int needed = one->columns + (used > 0 ? 2 : 0);
            if (one->rank != rank || used + needed > limit)
                continue;
            one->shown = true;
            used += needed;
        }
    }
    for (int i = 0; i < what->count; i++) {
        piece *one = &what->pieces[i];
        if (one->bar) {
            const int room = one->columns + limit - used;
            one->columns = room < BAR_MOST + 2 ? room : BAR_MOST + 2;
        }
    }
}

/* A bar of `columns` columns with its two ends, in eighths of a column where UTF-8 allows. */
static void append_bar(clvi_text *out, int columns, double fraction, bool utf8)
{
    static const char *const parts[EIGHTHS] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const int inside = columns - 2;
    const int eighths = (int)(fraction * inside * EIGHTHS);
    clvi_text_append(out, utf8 ? "▕" : "[");
    for (int i = 0; i < inside; i++) {
        const int filled = eighths - i * EIGHTHS;
        if (filled >= EIGHTHS)
            clvi_text_append(out, utf8 ? "█" : "#");
        else
            clvi_text_append(out, utf8 && filled > 0 ? parts[filled] : " ");
    }
    clvi_text_append(out, utf8 ? "▏" : "]");
}

/* As cli_progress_line; returns the columns that the line takes. */
static int append_line(const cli_progress_style *style, const clvi_progress *now, clvi_text *out)
{
    line what = {.count = 0};
    fill_line(style, now, &what);
    fit(&what, style->columns > 0 ? style->columns - 1 : 10000);
    int used = 0;
    for (int i = 0; i < what.count; i++) {
        const piece *one = &what.pieces[i];
        if (!one->shown)
            continue;
        if (used > 0)
            clvi_text_append(out, "  ");
        used += one->columns + (used > 0 ? 2 : 0);
        const bool colored = style->color && one->color != NULL;
        if (colored)
            clvi_text_append(out, one->color);
        if (one->bar)
            append_bar(out, one->columns, fraction_done(now), style->utf8);
        else
            clvi_text_append(out, one->text);
        if (colored)
            clvi_text_append(out, "\033[0m");
    }
    return used;
}

void cli_progress_line(const cli_progress_style *style, const clvi_progress *now, clvi_text *out)
{
    (void)append_line(style, now, out);
}

/* Overwrites what stands on the terminal's line with blanks. */
static void erase(cli_progress *display)
{
    if (display->drawn_width > 0)
        fprintf(display->stream, "\r%*s\r", display->drawn_width, "");
    display->drawn_width = 0;
}

static void draw(cli_progress *display, const clvi_progress *now)
{
    cli_progress_style style = display->style;
    const bool terminal = style.columns > 0;
    struct winsize size;
    if (terminal && ioctl(fileno(display->stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        style.columns = size.ws_col;
    const bool lasting = !terminal || now->phase == CLVI_PROGRESS_EPOCH;
    clvi_text text = {0};
    const int width = append_line(&style, now, &text);
    const int stale = display->drawn_width > width && display->drawn_width < style.columns
                          ? display->drawn_width - width
                          : 0;
    if (!text.failed)
        fprintf(display->stream, "%s%s%*s%s", terminal ? "\r" : "", clvi_text_get(&text), stale, "",
                lasting ? "\n" : "");
    fflush(display->stream);
    display->drawn_width = lasting ? 0 : width;
    clvi_text_fini(&text);
}

void cli_progress_show(cli_progress *display, const clvi_progress *now)
{
    if (display->quiet)
        return;
    pthread_mutex_lock(&display->lock);
    const double time = clvi_now();
    const double interval = display->style.columns > 0 ? redraw_seconds : plain_seconds;
    if (now->phase == CLVI_PROGRESS_EPOCH || time - display->last >= interval) {
        display->last = time;
        draw(display, now);
    }
    pthread_mutex_unlock(&display->lock);
}

void cli_progress_clear(cli_progress *display)
{
    pthread_mutex_lock(&display->lock);
    erase(display);
    fflush(display->stream);
    display->last = display->style.columns > 0 ? -INFINITY : display->last;
    pthread_mutex_unlock(&display->lock);
}
