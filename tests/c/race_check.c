/* Calls from several threads at once, each with threads of its own: for tools/check_races.sh, which
 * builds it with ThreadSanitizer, and for tools/valgrind.sh. Every call must have the bits of a call by itself.
 *
 * Arrays of the logits' shape are each caller's own; labels are shared and read by all. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "calls.h"

enum { CALLERS = 3, ROUNDS = 2 };

static const int64_t shapes[][2] = {{5, 7}, {300, 33}, {2000, 10}, {2, 3000}, {1, 70000}};
static batch batches[2][sizeof shapes / sizeof shapes[0]];
static double *wanted[2][sizeof shapes / sizeof shapes[0]][OPERATIONS];
static const char *isa;
static atomic_int failures;

typedef void take(const batch *b, const operation *op, double **result);

static int64_t room(const batch *b) { return b->rows * (b->n + STATE_NUMBERS + 2); }

static void take_alone(const batch *b, const operation *op, double **result)
{
    free(*result); /* of another instruction set */
    *result = (double *)(void *)buffer(room(b), sizeof(double));
    run(op, b, PLAIN, *result);
}

static void take_among_others(const batch *b, const operation *op, double **result)
{
    double *again = (double *)(void *)buffer(room(b), sizeof *again);
    for (layout way = COLUMNS; way <= SMALL; way++) {
        const int64_t count = run(op, b, way, again);
        if (memcmp(again, *result, (size_t)count * sizeof *again)) {
            printf("FAILED %s %s, %" PRId64 " rows of %" PRId64 "\n", isa, op->name, b->rows, b->n);
            failures++;
        }
    }
    free(again);
}

static void every(take *of)
{
    fs_isa_force(isa);
    for (int dtype = 0; dtype < 2; dtype++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            for (int which = 0; which < OPERATIONS; which++)
                of(&batches[dtype][i], &operations[which], &wanted[dtype][i][which]);
}

static void *caller(void *nothing)
{
    (void)nothing;
    for (int round = 0; round < ROUNDS; round++)
        every(take_among_others);
    return 0;
}

int main(void)
{
    fs_threads_init(2, 0);
    random_state = 1;
    for (int dtype = 0; dtype < 2; dtype++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            batches[dtype][i] = batch_new((fs_dtype)dtype, shapes[i][0], shapes[i][1]);
            for (int64_t row = 0; row < shapes[i][0]; row++)
                fill_row(&batches[dtype][i], row, NORMAL);
        }
    for (int which = 0; which < fs_isa_count(); which++) {
        isa = fs_isa_name(which);
        if (!fs_isa_runs(which))
            continue;
        pthread_t threads[CALLERS];
        every(take_alone);
        for (int i = 0; i < CALLERS; i++)
            if (pthread_create(&threads[i], 0, caller, 0))
                abort();
        for (int i = 0; i < CALLERS; i++)
            pthread_join(threads[i], 0);
        printf("race_check: %s, %d callers\n", isa, CALLERS);
    }
    for (int dtype = 0; dtype < 2; dtype++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            batch_free(&batches[dtype][i]);
            for (int which = 0; which < OPERATIONS; which++)
                free(wanted[dtype][i][which]);
        }
    return failures != 0;
}
