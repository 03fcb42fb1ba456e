/* Best instance first; FASTSOFTMAX_MAX_ISA caps it (fs_isa_cap). Decided once, at import. */
#include "dispatch.h"
#include "cpu.h"
#include "portable.h"
#include <string.h>

#define FS_ISA(name, needs) extern const fs_kernels fs_##name##_f32, fs_##name##_f64;
#include "isa.def"
#undef FS_ISA

typedef struct {
    const char *name;
    unsigned needs;
    const fs_kernels *kernels[2]; /* by fs_dtype */
} instance;

#define FS_ISA(name, needs) {#name, needs, {&fs_##name##_f32, &fs_##name##_f64}},
static const instance instances[] = {
#include "isa.def"
};
#undef FS_ISA

enum { INSTANCES = sizeof instances / sizeof instances[0] };

/* Where each name stands among all that exist, so that a cap of "avx2" means the same in a build
 * without AVX2. Instruction sets of different families do not bound each other. */
static const char *const ladders[][4] = {{"scalar", "avx2", "avx512", 0}, {"scalar", "neon", 0, 0}};

static int chosen = INSTANCES - 1; /* scalar until fs_isa_init */
static FS_THREAD_LOCAL int forced = -1;

static int runs_here(const instance *candidate)
{
    return (candidate->needs & ~fs_cpu_features()) == 0;
}

static int find(const char *name)
{
    for (int i = 0; i < INSTANCES; i++)
        if (strcmp(instances[i].name, name) == 0)
            return i;
    return -1;
}

/* Whether an instance may be used under a cap. */
static int within(const char *name, const char *cap)
{
    for (int ladder = 0; ladder < 2; ladder++)
        for (int i = 0, seen = 0; i < 4 && ladders[ladder][i]; i++) {
            if (strcmp(ladders[ladder][i], name) == 0)
                seen = 1;
            if (seen && strcmp(ladders[ladder][i], cap) == 0)
                return 1;
        }
    return 0;
}

void fs_isa_cap(const char *cap)
{
    fs_cpu_init();
    for (int i = 0; i < INSTANCES; i++)
        if (runs_here(&instances[i]) && (!cap || within(instances[i].name, cap))) {
            chosen = i;
            return;
        }
}

int fs_isa_count(void) { return INSTANCES; }
const char *fs_isa_name(int index) { return instances[index].name; }
int fs_isa_runs(int index) { return runs_here(&instances[index]); }
const char *fs_isa_current(void) { return instances[forced >= 0 ? forced : chosen].name; }

int fs_isa_force(const char *name)
{
    const int index = name ? find(name) : -1;
    if (name && (index < 0 || !runs_here(&instances[index])))
        return 0;
    forced = index;
    return 1;
}

const fs_kernels *fs_dispatch(fs_dtype dtype)
{
    return instances[forced >= 0 ? forced : chosen].kernels[dtype];
}
