#include "tables.h"

#include <cstring>

namespace gristmill {

uint32_t* tables[kNumTables];
int8_t* columns[kNumTables];

void set_table(Table id, const void* words, size_t n_bytes) {
    const size_t n_elems = id == kGridIQ3_XXS || id == kGridIQ3_S ? 4 : 8, n_entries = n_bytes / n_elems;
    const auto* bytes = static_cast<const uint8_t*>(words);
    tables[id] = new uint32_t[n_bytes / 4 + 1];     // gathering eights reads a word after the last
    std::memcpy(tables[id], words, n_bytes);
    columns[id] = new int8_t[n_bytes];
    for (size_t i = 0; i < n_entries; ++i)
        for (size_t j = 0; j < n_elems; ++j) {
            const int value = bytes[n_elems * i + j];
            columns[id][n_entries * j + i] = static_cast<int8_t>(id == kGridIQ1 ? (value - 9) / 8 : value);
        }
}

}  // namespace gristmill
