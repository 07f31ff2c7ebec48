// Look-up tables of the IQ formats, handed over once by Python (kernels/formats/grids.py owns the numbers).
#pragma once
#include <cstdint>

namespace gristmill {

enum Table : int32_t { kGridIQ1, kGridIQ2_XXS, kGridIQ2_XS, kGridIQ2_S, kGridIQ3_XXS, kGridIQ3_S, kNumTables };

// Entries of 8 elements take two words, entries of 4 one; a byte is an element's value.
extern uint32_t* tables[kNumTables];

}  // namespace gristmill
