#define GM_LEVEL portable
#include "../simd/portable.h"
#include "../kernels/level.h"
