#define GM_LEVEL neon
#include "../simd/neon.h"
#include "../kernels/level.h"
