#include "layout.h"
#include <string.h>

static const fs_array *array_of(const fs_call *call, int which)
{
    const fs_array *const arrays[FS_ARRAYS] = {&call->x,      &call->other,
                                               &call->y,      &call->value,
                                               &call->target, &call->sample_weight,
                                               &call->grad_output};
    return arrays[which];
}

/* Whether the last dimension kept and a further one of this size are one for every array. */
static int merges(const fs_layout *layout, const fs_call *call, int dim)
{
    const int last = layout->ndim - 1;
    if (last < 0)
        return 0;
    for (int a = 0; a < FS_ARRAYS; a++) {
        const fs_array *array = array_of(call, a);
        if (array->data && layout->strides[a][last] != array->strides[dim] * call->shape[dim])
            return 0;
    }
    return 1;
}

void fs_layout_init(fs_layout *layout, const fs_call *call)
{
    layout->ndim = 0;
    layout->rows = 1;
    for (int dim = 0; dim < call->ndim; dim++) {
        layout->rows *= call->shape[dim];
        if (call->shape[dim] == 1)
            continue;
        const int together = merges(layout, call, dim);
        const int at = together ? layout->ndim - 1 : layout->ndim++;
        layout->shape[at] = (together ? layout->shape[at] : 1) * call->shape[dim];
        for (int a = 0; a < FS_ARRAYS; a++)
            layout->strides[a][at] = array_of(call, a)->data ? array_of(call, a)->strides[dim] : 0;
    }
    if (layout->ndim == 0) {
        layout->ndim = 1;
        layout->shape[0] = 1;
        for (int a = 0; a < FS_ARRAYS; a++)
            layout->strides[a][0] = 0;
    }
}

int64_t fs_layout_locate(const fs_layout *layout, int64_t row, int64_t offsets[FS_ARRAYS])
{
    int64_t left = 0;
    memset(offsets, 0, FS_ARRAYS * sizeof offsets[0]);
    for (int dim = layout->ndim - 1; dim >= 0; dim--) {
        const int64_t index = row % layout->shape[dim];
        row /= layout->shape[dim];
        if (dim == layout->ndim - 1)
            left = layout->shape[dim] - index;
        for (int a = 0; a < FS_ARRAYS; a++)
            offsets[a] += index * layout->strides[a][dim];
    }
    return left;
}

int64_t fs_layout_step(const fs_layout *layout, int array)
{
    return layout->strides[array][layout->ndim - 1];
}

/* Class by class, so that rows that lie side by side are read side by side. */
#define COPY(type, to_row, to_class, from_row, from_class)                                         \
    for (int64_t j = 0; j < n; j++)                                                                \
        for (int64_t i = 0; i < rows; i++)                                                         \
            *(type *)(void *)(to + i * (to_row) + j * (to_class)) =                                \
                *(const type *)(const void *)(from + i * (from_row) + j * (from_class))

void fs_gather(char *to, const char *from, int64_t rows, int64_t row_step, int64_t n,
               int64_t class_step, int size)
{
    if (size == 4)
        COPY(float, n * 4, 4, row_step, class_step);
    else
        COPY(double, n * 8, 8, row_step, class_step);
}

void fs_scatter(char *to, const char *from, int64_t rows, int64_t row_step, int64_t n,
                int64_t class_step, int size)
{
    if (size == 4)
        COPY(float, row_step, class_step, n * 4, 4);
    else
        COPY(double, row_step, class_step, n * 8, 8);
}
