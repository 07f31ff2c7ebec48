#define GM_LEVEL neon_dotprod
#define GM_DOTPROD
#include "../simd/neon.h"
#include "../kernels/level.h"
