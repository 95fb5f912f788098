/* Texts and exit codes of the status list, for programs and for messages. */
#include <conclave/status.h>

const char *clv_status_text(clv_status status)
{
    switch (status) {
#define CASE(symbol, value, exit_code, text)                                                       \
    case CLV_##symbol:                                                                             \
        return text;
        CLV_STATUS_LIST(CASE)
#undef CASE
    }
    return "unknown status";
}

int clv_status_exit_code(clv_status status)
{
    switch (status) {
#define CASE(symbol, value, exit_code, text)                                                       \
    case CLV_##symbol:                                                                             \
        return exit_code;
        CLV_STATUS_LIST(CASE)
#undef CASE
    }
    return 1;
}
