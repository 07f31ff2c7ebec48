#define GM_LEVEL neon_i8mm
#define GM_DOTPROD
#define GM_I8MM
#include "../simd/neon.h"
#include "../kernels/level.h"
