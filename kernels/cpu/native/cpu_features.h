// Which levels this processor runs, the best first.
#pragma once
#include <vector>

#include "level_table.h"

namespace gristmill {

std::vector<const Level*> usable_levels();

}  // namespace gristmill
