#include "labels.h"
#include <string.h>

#define READ(type)                                                                                 \
    for (int64_t i = 0; i < count; i++)                                                            \
        label[i] = (int64_t)*(const type *)(const void *)(from + i * step);                        \
    break

static void copy_labels(const fs_call *call, const char *from, int64_t step, int64_t count,
                        int64_t *label)
{
    switch (call->label.size * 2 + call->label.is_signed) {
    case 2: READ(uint8_t);
    case 3: READ(int8_t);
    case 4: READ(uint16_t);
    case 5: READ(int16_t);
    case 8: READ(uint32_t);
    case 9: READ(int32_t);
    case 16: READ(uint64_t);
    default: READ(int64_t);
    }
}

int fs_labels_lie_as_read(const fs_call *call, const char *from, int64_t step)
{
    const uintptr_t size = sizeof(int64_t);
    return call->label.size == 8 && call->label.is_signed && step == (int64_t)size &&
           (uintptr_t)from % size == 0;
}

void fs_labels_read(const fs_call *call, const char *from, int64_t step, int64_t count,
                    int64_t *label)
{
    if (fs_labels_lie_as_read(call, from, step))
        memcpy(label, from, (size_t)count * sizeof *label);
    else
        copy_labels(call, from, step, count, label);
    FS_SETTLE(label);
}

int fs_labels_all_count(const fs_call *call, const int64_t *label, int64_t count)
{
    const uint64_t last = (uint64_t)call->n - 1;
    uint64_t outside = 0;
    if (call->has_ignore && (uint64_t)call->ignore_index <= last)
        return 0;
    for (int64_t i = 0; i < count; i++)
        outside |= (uint64_t)label[i] | (last - (uint64_t)label[i]);
    return !(outside >> 63);
}
