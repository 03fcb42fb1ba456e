/* The instances compiled in, and which of them a call uses. */
#ifndef FS_DISPATCH_H
#define FS_DISPATCH_H
#include "fastsoftmax.h"
#include "kernels/rows.h"

const fs_kernels *fs_dispatch(fs_dtype dtype);

#endif
