/* No byte outside an array is read or written, and inside an array none that is not an element.
 *
 *   guard               every op in every way of calling, at every length from 0 to 600 and at some
 *                       around blocks and pieces, with every array directly behind or before a
 *                       closed page; a touch of one ends it with the call's name
 *   guard --part 0|1    half of it: float32 or float64
 *   guard --spoil       tells the kernels a length that is too large by one: has to fail
 *
 * Two functions are replaced at link time (-Wl,--wrap): fs_cpu_last_cache, so that results are
 * written past the caches at any length, and fs_dispatch, so that rows are swept twice at any length.
 */
#define _DEFAULT_SOURCE
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include "fastsoftmax.h"
#include "dispatch.h"
#include "guard_cases.h"
#include "guarded.h"

enum { X, OTHER, Y, VALUE, TARGET, WEIGHT, SAMPLE, OUTER, ARENAS };

static struct { const char *op, *how, *isa; fs_dtype dtype; int64_t n; place where; } now;
static arena arenas[ARENAS];
static char *numbers[2]; /* by dtype: what every array of reals is filled with */
static int failures, spoil;
static int64_t calls, lanes;

static void say_what(const char *what)
{
    printf("FAILED %s float%d %s, %s, n = %" PRId64 ", arrays at the %s: %s\n", now.isa,
           now.dtype == FS_FLOAT32 ? 32 : 64, now.op, now.how, now.n,
           now.where == AT_START ? "start" : "end", what);
}

static void touched(int number)
{
    (void)number; /* printf is not for handlers; nothing but the report is left to be done */
    say_what("touched a byte outside");
    fflush(stdout);
    _exit(1);
}

static void expect(int holds, const char *what)
{
    if (!holds && failures++ < 20)
        say_what(what);
}

/* --- what is replaced at link time --- */

static int stream_now;
static manner manner_now;
static const fs_kernels *whole;

int64_t __wrap_fs_cpu_last_cache(void);
int64_t __wrap_fs_cpu_last_cache(void) { return stream_now ? 0 : INT64_MAX / 4; }

/* A row cut in two where the driver would not. */
static int each_half(void *driver, fs_piece_task *task, const void *job)
{
    const fs_rows *rows = driver;
    const int64_t cut = rows->n / 2;
    for (int64_t i = 0; i < rows->pieces->count; i++)
        task(job, i * cut, i + 1 < rows->pieces->count ? cut : rows->n - i * cut,
             &rows->pieces->results[i]);
    return 1;
}

#define CHANGED(kernel)                                                                            \
    static void changed_##kernel(const fs_rows *rows)                                              \
    {                                                                                              \
        fs_rows changed = *rows;                                                                   \
        fs_piece results[2];                                                                       \
        const fs_pieces pieces = {rows->n > 1 ? 2 : 1, results, each_half, &changed};              \
        changed.keep = 0;                                                                          \
        changed.pieces = manner_now == PIECES ? &pieces : 0;                                       \
        whole->kernel(&changed);                                                                   \
    }
#define EVERY(DO)                                                                                  \
    DO(softmax)                                                                                    \
    DO(log_softmax)                                                                                \
    DO(logsumexp)                                                                                  \
    DO(cross_entropy)                                                                              \
    DO(cross_entropy_grad)                                                                         \
    DO(cross_entropy_mixed)                                                                        \
    DO(cross_entropy_mixed_grad)                                                                   \
    DO(nll_soft)                                                                                   \
    DO(softmax_backward)                                                                           \
    DO(log_softmax_backward)                                                                       \
    DO(state)                                                                                      \
    DO(softmax_given)                                                                              \
    DO(log_softmax_given)
EVERY(CHANGED)

const fs_kernels *__real_fs_dispatch(fs_dtype dtype);
const fs_kernels *__wrap_fs_dispatch(fs_dtype dtype);
const fs_kernels *__wrap_fs_dispatch(fs_dtype dtype)
{
    static fs_kernels changed;
    whole = __real_fs_dispatch(dtype);
    if (manner_now == AS_IT_IS)
        return whole;
    changed = *whole;
#define PUT(kernel) changed.kernel = changed_##kernel;
    EVERY(PUT)
    return &changed;
}

/* --- arrays --- */

static int size_of(fs_dtype dtype) { return dtype == FS_FLOAT32 ? 4 : 8; }

static void fill_numbers(void)
{
    const size_t count = MOST;
    numbers[0] = malloc(count * sizeof(float));
    numbers[1] = malloc(count * sizeof(double));
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const double x = (double)(int64_t)(state >> 33) * 0x1p-31 * 20.0 - 10.0;
        ((float *)(void *)numbers[0])[i] = (float)(i % 97 == 96 ? -INFINITY : x);
        ((double *)(void *)numbers[1])[i] = i % 97 == 96 ? -INFINITY : x;
    }
}

/* An array of the logits' shape, filled with numbers, or with canaries if it will be written. */
static fs_array place_like_x(int which, const steps *s, int to_write)
{
    const int size = size_of(now.dtype);
    fs_array array;
    memset(&array, 0, sizeof array);
    char *at = arena_take(&arenas[which], now.where, (size_t)(s->extent * size));
    if (to_write)
        memset(at, CANARY, (size_t)(s->extent * size));
    else
        memcpy(at, numbers[now.dtype], (size_t)(s->extent * size));
    array.data = at + s->first * size;
    array.strides[0] = s->row * size;
    array.class_stride = s->class * size;
    return array;
}

/* An array of one item a row. */
static fs_array place_of_rows(int which, int64_t rows, int64_t size)
{
    fs_array array;
    memset(&array, 0, sizeof array);
    array.data = arena_take(&arenas[which], now.where, (size_t)(rows * size));
    array.strides[0] = size;
    return array;
}

static fs_array place_doubles(int which, int64_t count)
{
    fs_array array = place_of_rows(which, count, sizeof(double));
    for (int64_t i = 0; i < count; i++)
        ((double *)(void *)array.data)[i] = 0.5 + (double)(i % 4);
    return array;
}

/* Labels of a dtype that changes with the length. */
static void place_labels(fs_call *call, int64_t rows, int64_t n)
{
    const int sizes[] = {8, 4, 2, 1};
    const int size = sizes[n % (n > 32767 ? 2 : n > 100 ? 3 : 4)];
    call->label.size = size;
    call->label.is_signed = n / 4 % 2 || n > 32767;
    call->target = place_of_rows(TARGET, rows, size);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t label = i % 3 == 2 ? 0 : i % 3 ? n / 2 : n - 1;
        if (size == 8)
            ((int64_t *)(void *)call->target.data)[i] = label;
        else if (size == 4)
            ((int32_t *)(void *)call->target.data)[i] = (int32_t)label;
        else if (size == 2)
            ((int16_t *)(void *)call->target.data)[i] = (int16_t)label;
        else
            call->target.data[i] = (char)label;
    }
}

/* --- one call and what must hold after it --- */

static void place_options(fs_call *call, const operation *op, int64_t rows, int64_t n)
{
    call->smoothing = op->smoothing;
    call->z_loss = op->z_loss;
    if (op->kind == HARD)
        place_labels(call, rows, n);
    if (!op->weighted)
        return;
    call->weight = (const double *)(const void *)place_doubles(WEIGHT, n).data;
    call->sample_weight = place_doubles(SAMPLE, rows);
    call->grad_output = place_doubles(OUTER, rows);
}

static void place_value(fs_call *call, int64_t rows)
{
    const int64_t state = 4 * sizeof(double);
    if (call->op == FS_STATE || is_given(call->op))
        call->value = place_of_rows(VALUE, rows, state);
    else if (call->op == FS_LOGSUMEXP || (is_loss(call->op) && call->reduction == FS_NONE))
        call->value = place_of_rows(VALUE, rows, size_of(call->dtype));
    for (int64_t i = 0; is_given(call->op) && i < rows; i++) {
        const double given[4] = {10.0, 3.0, 0.0, 0.0};
        memcpy(call->value.data + i * state, given, sizeof given);
    }
}

/* Elements between those of the array, which are none of it. */
static void expect_gaps(const arena *a, const steps *s, int64_t rows, int64_t n)
{
    static char element[MOST];
    const size_t size = (size_t)size_of(now.dtype);
    if (s->extent == rows * n)
        return;
    memset(element, 0, (size_t)s->extent);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            element[s->first + i * s->row + j * s->class] = 1;
    for (int64_t i = 0; i < s->extent; i++)
        if (!element[i] && !all_canaries(a->data + (size_t)i * size, size)) {
            expect(0, "wrote between the elements");
            return;
        }
}

static void expect_unchanged(const fs_call *call, const operation *op, const way *how)
{
    for (int which = 0; which < ARENAS; which++)
        if (arenas[which].data)
            expect(margin_is_whole(&arenas[which]), "wrote outside");
    if (!how->in_place)
        expect(!memcmp(arenas[X].data, numbers[now.dtype], arenas[X].used), "wrote to the logits");
    if (call->other.data)
        expect(!memcmp(arenas[OTHER].data, numbers[now.dtype], arenas[OTHER].used),
               op->kind == SOFT ? "wrote to the soft targets" : "wrote to y");
}

static void one_call(const operation *op, const way *how, int64_t n)
{
    const int64_t rows = how->rows;
    const steps x = steps_of(how->x, rows, n), y = steps_of(how->y, rows, n);
    fs_call call;
    memset(&call, 0, sizeof call);
    for (int which = 0; which < ARENAS; which++)
        arenas[which].data = 0;
    call.op = op->op;
    call.dtype = now.dtype;
    call.ndim = 1;
    call.shape[0] = rows;
    call.n = n + spoil;
    call.threads = how->threads;
    call.reduction = op->reduction;
    call.x = place_like_x(X, &x, 0);
    if (!is_loss(op->op) || op->kind == SOFT)
        call.other = place_like_x(OTHER, &x, 0);
    if (writes_elements(op->op))
        call.y = how->in_place ? call.x : place_like_x(Y, &y, 1);
    place_value(&call, rows);
    place_options(&call, op, rows, n);
    stream_now = how->stream;
    manner_now = how->manner;
    if (how->small)
        fs_run_rows(op->op, now.dtype, call.x.data,
                    op->op == FS_LOGSUMEXP ? call.value.data : call.y.data, rows, call.n);
    else
        expect(fs_run(&call).error == FS_OK, "status");
    expect_unchanged(&call, op, how);
    if (call.y.data && !how->in_place)
        expect_gaps(&arenas[Y], &y, rows, n);
    calls++;
}

/* --- everything --- */

static int applies(const operation *op, const way *how, int64_t n)
{
    if (how->small)
        return op->op <= FS_LOGSUMEXP && n > 0 && fs_is_small(how->rows, n);
    if (how->manner == TWICE || how->stream || how->in_place)
        if (!writes_elements(op->op))
            return 0;
    if (n > MAX_N)
        return how->rows <= (n < 5000 ? 5 : how->threads > 1 || how->manner ? 2 : 0);
    if (how->threads > 1)
        return 0; /* too little work for a second */
    if (n > 160 && how->rows > 18)
        return 0; /* contiguous rows beyond 128 classes go alone: nothing new */
    if (n > 160 && how->x >= REVERSED && lanes == 1 && (n + how->rows) % 3)
        return 0; /* slow, and by way of copies, which do not see n in vectors: now and then */
    return n > 0 || !is_loss(op->op);
}

static void at_length(int64_t n)
{
    now.n = n;
    for (int which = 0; which < OPERATIONS; which++)
        for (int how = 0; how < WAYS; how++) {
            now.op = operations[which].name;
            now.how = ways[how].name;
            if (applies(&operations[which], &ways[how], n))
                one_call(&operations[which], &ways[how], n);
        }
}

static void states_of(int64_t rows)
{
    now.op = "states joined";
    now.how = "rows";
    now.n = rows;
    double *a = (double *)(void *)place_doubles(X, 4 * rows).data;
    const double *b = (const double *)(const void *)place_doubles(OTHER, 4 * rows).data;
    double *result = (double *)(void *)place_doubles(Y, rows).data;
    fs_state_join(a, b, rows + spoil);
    fs_state_end(a, 0, result, rows + spoil);
    fs_state_end(a, b, result, rows + spoil);
    for (int which = X; which <= Y; which++)
        expect(margin_is_whole(&arenas[which]), "wrote outside");
    calls++;
}

static void every_length(void)
{
    static const int64_t large[] = {1023, 1024, 1025, 1091, 2047, 2048, 2049, 2113, 4097, 65536 + 1,
                                    131072 + 33, LARGE_N};
    for (int64_t n = 0; n <= MAX_N; n++) {
        at_length(n);
        states_of(n);
    }
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        at_length(large[i]);
}

int main(int argc, char **argv)
{
    int part = -1;
    for (int i = 1; i < argc; i++) {
        spoil |= !strcmp(argv[i], "--spoil");
        if (!strcmp(argv[i], "--part") && i + 1 < argc)
            part = argv[++i][0] == '1';
    }
    signal(SIGSEGV, touched);
    signal(SIGBUS, touched);
    fs_threads_init(2, 0);
    fill_numbers();
    for (int which = 0; which < ARENAS; which++)
        arenas[which] = arena_new((size_t)MOST * sizeof(double));
    for (int isa = 0; isa < fs_isa_count(); isa++) {
        now.isa = fs_isa_name(isa);
        if (!fs_isa_runs(isa))
            continue;
        fs_isa_force(now.isa);
        calls = 0;
        lanes = __real_fs_dispatch(FS_FLOAT32)->lanes;
        for (int i = 0; i < 2 * PLACES; i++) {
            now.dtype = i % 2 ? FS_FLOAT64 : FS_FLOAT32;
            now.where = (place)(i / 2);
            if (part < 0 || part == (int)now.dtype)
                every_length();
        }
        printf("%-7s %" PRId64 " calls\n", now.isa, calls);
    }
    if (failures)
        printf("%d failures\n", failures);
    return failures != 0;
}
