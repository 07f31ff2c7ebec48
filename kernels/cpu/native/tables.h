// Look-up tables of the IQ formats, handed over once by Python (kernels/formats/grids.py owns the numbers).
#pragma once
#include <cstddef>
#include <cstdint>

namespace gristmill {

enum Table : int32_t { kGridIQ1, kGridIQ2_XXS, kGridIQ2_XS, kGridIQ2_S, kGridIQ3_XXS, kGridIQ3_S, kNumTables };

// Entries of 8 elements take two words, entries of 4 one; a byte is an element's value (of IQ1: 8 times the value, plus 9).
extern uint32_t* tables[kNumTables];

struct Grid {                   // what encoders search through
    int n_levels;               // 3 for entries of 8 elements, 8 for entries of 4
    float levels[8];            // the values that elements take, in order
    uint8_t* halves;            // of each entry its first half and its second: sum of (index of level) * n_levels^element
};
extern Grid grids[kNumTables];

// Copies the words for as long as the process lives. False for elements of more levels than there may be.
bool set_table(Table, const void* words, size_t n_bytes);

}  // namespace gristmill
