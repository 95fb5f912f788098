/* Initial values: element by element from the definition, whatever the number of them. */
#include "graph/draw.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Element i of the variable. */
static float element(const clvi_segment *s, clvi_philox_key key, uint64_t i)
{
    uint32_t words[4];
    const uint32_t j = (uint32_t)(i % 4), pair = j / 2 * 2;
    clvi_philox(key, (uint32_t)(i / 4), (uint32_t)(i / 4 >> 32), 0, 0, words);
    if (s->init == CLV_INIT_UNIFORM)
        return (float)(s->a * (2 * (double)clvi_philox_unit(words[j]) - 1));
    const double length = s->a * sqrt(-2 * log(clvi_philox_unit(words[pair])));
    const double angle = 2 * 3.14159265358979323846 * (double)clvi_philox_unit(words[pair + 1]);
    return (float)(j % 2 == 0 ? length * cos(angle) : length * sin(angle));
}

static void test_elements(void **state)
{
    static const int64_t counts[] = {1, 3, 4, 6, 16383, 32768, 32769, 49155, 1 << 20};
    static const int64_t froms[] = {0, 1 << 20, ((int64_t)1 << 34) - 8};
    static const clv_init kinds[] = {CLV_INIT_UNIFORM, CLV_INIT_NORMAL};
    const clvi_philox_key key = clvi_philox_stream(7, "init/a");
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const int64_t count = counts[c];
        float *values = malloc((size_t)(count + 1) * sizeof *values);
        assert_non_null(values);
        for (size_t k = 0; k < 6; k++) {
            const clvi_segment s = {.init = kinds[k / 3], .a = 0.25};
            values[count] = 77;
            clvi_draw(&s, key, froms[k % 3], count, values);
            for (int64_t i = 0; i < count; i++) {
                const float wanted = element(&s, key, (uint64_t)(froms[k % 3] + i));
                if (memcmp(&values[i], &wanted, sizeof wanted) != 0)
                    fail_msg("%lld from %lld: element %lld is %.9g, wanted is %.9g",
                             (long long)count, (long long)froms[k % 3], (long long)i,
                             (double)values[i], (double)wanted);
            }
            assert_true(values[count] > 76 && values[count] < 78);
        }
        free(values);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_elements)};
    return cmocka_run_group_tests_name("draw", tests, NULL, NULL);
}
