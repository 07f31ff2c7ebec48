// Look-up tables of the IQ formats, handed over once by Python (kernels/formats/grids.py owns the numbers).
#pragma once
#include <cstddef>
#include <cstdint>

namespace gristmill {

enum Table : int32_t { kGridIQ1, kGridIQ2_XXS, kGridIQ2_XS, kGridIQ2_S, kGridIQ3_XXS, kGridIQ3_S, kNumTables };

// Entries of 8 elements take two words, entries of 4 one; a byte is an element's value (of IQ1: 8 times the value, plus 9).
extern uint32_t* tables[kNumTables];

// The values themselves, by element: j of all entries, then j + 1. Encoders search through them.
extern int8_t* columns[kNumTables];

// Copies them for as long as the process lives.
void set_table(Table, const void* words, size_t n_bytes);

}  // namespace gristmill
