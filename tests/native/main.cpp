// Every level that this processor runs against the portable one, bit for bit. scripts/test-native builds and runs it.
#include "check.h"

namespace gristmill {

uint32_t* tables[kNumTables];

namespace {

// Grids with arbitrary entries within each format's range.
void fill_tables(std::vector<std::vector<uint32_t>>& memory) {
    const uint32_t sizes[kNumTables] = {2048 * 2, 256 * 2, 512 * 2, 1024 * 2, 256, 512};
    const uint32_t highest[kNumTables] = {17, 43, 43, 43, 62, 15};
    Data data;
    for (int i = 0; i < kNumTables; ++i) {
        memory.emplace_back(sizes[i]);
        for (uint32_t& word : memory.back())
            for (int j = 0; j < 4; ++j) word |= (1 + data.below(highest[i])) << 8 * j;
        tables[i] = memory.back().data();
    }
}

}  // namespace
}  // namespace gristmill

int main() {
    using namespace gristmill;
    std::vector<std::vector<uint32_t>> memory;
    fill_tables(memory);
    Report report;
    Context portable(level_portable, 1);
    for (const Level* level : usable_levels()) {
        Context context(*level, 3);
        std::printf("%s\n", level->name);
        std::fflush(stdout);
        test_rows(context, portable, report);
        test_states(context, portable, report);
        test_heads(context, portable, report);
        test_attention(context, portable, report);
        test_products(context, portable, report);
        test_combinations(context, portable, report);
    }
    std::printf("%d passed, %d failed\n", report.passed, report.failed);
    return report.failed ? 1 : 0;
}
