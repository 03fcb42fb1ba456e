/* Every allocation of the kernels fails once: the call says so, has written nothing and keeps nothing.
 *
 *   no_memory     each op in each way of calling, its first allocation failing, then its second, and
 *                 so on until none is left to fail; prints how many there were in each way
 *
 * malloc and free are replaced at link time (-Wl,--wrap).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "calls.h"

enum { CANARY = 0xA5 };

static const char *const layouts[LAYOUTS] = {"plain",   "in place", "columns",
                                              "threads", "small",    "past the caches",
                                              "columns past the caches"};
static int64_t asked, fails_at, kept, points[LAYOUTS];
static int armed, failures;

void *__real_malloc(size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void __wrap_free(void *data);

void *__wrap_malloc(size_t size)
{
    if (!armed)
        return __real_malloc(size);
    if (++asked == fails_at)
        return 0;
    kept++;
    return __real_malloc(size);
}

void __wrap_free(void *data)
{
    if (armed && data)
        kept--;
    __real_free(data);
}

static void expect(int holds, const operation *op, const batch *b, layout way, const char *what)
{
    if (!holds && failures++ < 20)
        printf("FAILED %s, %s, %" PRId64 " rows of %" PRId64 ", allocation %" PRId64 ": %s\n",
               op->name, layouts[way], b->rows, b->n, fails_at, what);
}

static int is_whole(const char *data, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i++)
        if ((unsigned char)data[i] != CANARY)
            return 0;
    return 1;
}

/* Returns whether there was an allocation left to fail. */
static int one_failure(const operation *op, const batch *b, layout way)
{
    const int64_t size = (int64_t)size_of(b->dtype);
    arrays a = arrays_new(op, b, way);
    fs_call call = call_of(op, b, way, &a);
    if (way != IN_PLACE)
        memset(a.y, CANARY, (size_t)(b->rows * b->n * size));
    memset(a.value, CANARY, (size_t)(b->rows * size));
    call.loss = 7.0;
    asked = kept = 0;
    armed = 1;
    const fs_error error = fs_run(&call).error;
    armed = 0;
    const int failed = asked >= fails_at;
    expect(kept == 0, op, b, way, "memory was kept");
    expect(error == (failed ? FS_NO_MEMORY : FS_OK), op, b, way, "status");
    if (failed) {
        expect(way == IN_PLACE || is_whole(a.y, b->rows * b->n * size), op, b, way, "y was written");
        expect(is_whole(a.value, b->rows * size), op, b, way, "value was written");
        expect(call.loss == 7.0, op, b, way, "the loss was written");
    }
    arrays_free(&a);
    return failed;
}

/* A call that failed leaves nothing behind that the next one would see. */
static void every_failure(const operation *op, const batch *b, layout way)
{
    const size_t bytes = (size_t)(b->rows * b->n + b->rows) * sizeof(double);
    double *before = (double *)(void *)buffer(1, bytes), *after = (double *)(void *)buffer(1, bytes);
    run(op, b, way, before);
    for (fails_at = 1; one_failure(op, b, way); fails_at++)
        points[way]++;
    run(op, b, way, after);
    expect(!memcmp(before, after, bytes), op, b, way, "other results afterwards");
    free(before);
    free(after);
}

int main(void)
{
    static const int64_t shapes[][2] = {{3, 5}, {40, 33}, {2, 3000}, {1, 200000}};
    random_state = 1;
    for (int i = 0; i < 8; i++) {
        batch b = batch_new((fs_dtype)(i % 2), shapes[i / 2][0], shapes[i / 2][1]);
        for (int64_t row = 0; row < b.rows; row++)
            fill_row(&b, row, NORMAL);
        for (int which = 0; which < OPERATIONS; which++)
            for (layout way = PLAIN; way <= THREADS; way++)
                every_failure(&operations[which], &b, way);
        batch_free(&b);
    }
    for (layout way = PLAIN; way <= THREADS; way++)
        printf("%s: %" PRId64 " allocations\n", layouts[way], points[way]);
    if (failures)
        printf("%d failures\n", failures);
    return failures != 0;
}
