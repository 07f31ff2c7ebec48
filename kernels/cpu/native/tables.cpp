#include "tables.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace gristmill {

uint32_t* tables[kNumTables];
Grid grids[kNumTables];

bool set_table(Table id, const void* words, size_t n_bytes) {
    const bool is_short = id == kGridIQ3_XXS || id == kGridIQ3_S;
    const size_t n_half = is_short ? 2 : 4, n_levels = is_short ? 8 : 3;
    std::vector<uint8_t> bytes(n_bytes), levels;
    std::memcpy(bytes.data(), words, n_bytes);
    levels = bytes;
    std::sort(levels.begin(), levels.end());
    levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
    if (levels.size() != n_levels) return false;
    tables[id] = new uint32_t[n_bytes / 4 + 1];     // gathering eights reads a word after the last
    std::memcpy(tables[id], words, n_bytes);
    Grid& grid = grids[id];
    grid.n_levels = static_cast<int>(n_levels);
    for (size_t i = 0; i < n_levels; ++i) grid.levels[i] = id == kGridIQ1 ? (levels[i] - 9) / 8.0f : levels[i];
    grid.halves = new uint8_t[n_bytes / n_half]();
    for (size_t i = 0; i < n_bytes; ++i) {
        size_t code = static_cast<size_t>(std::find(levels.begin(), levels.end(), bytes[i]) - levels.begin());
        for (size_t j = 0; j < i % n_half; ++j) code *= n_levels;
        grid.halves[i / n_half] = static_cast<uint8_t>(grid.halves[i / n_half] + code);
    }
    return true;
}

}  // namespace gristmill
