#include "../simd/avx2_f32.h"
#include "../math/format_f32.h"
#define FS_INSTANCE fs_avx2_f32
#include "../kernels/instance.inc.h"
