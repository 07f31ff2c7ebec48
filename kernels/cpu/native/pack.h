// From a file's blocks to panels of 16 rows (layouts.h).
#pragma once
#include "args.h"
#include "phase.h"

namespace gristmill {

void pack_panels(const void* pack_args, Scratch, int64_t first, int64_t last);   // items: panels

}  // namespace gristmill
