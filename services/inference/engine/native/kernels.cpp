#include "kernels.h"

#include <utility>

namespace flywheel {
namespace {

using Bfloat16 = void (*)(Block, const char*, int, float*, int, bool, const char*);
using Int8 = void (*)(Block, const char*, int, std::int32_t*, const char*);

template <int Lines, int... Heights>
constexpr auto bfloat16_table(std::integer_sequence<int, Heights...>) {
    struct {
        Bfloat16 at[sizeof...(Heights)];
    } table{{tile_bfloat16<Heights + 1, Lines>...}};
    return table;
}

template <int Lines, int... Halves>
constexpr auto int8_table(std::integer_sequence<int, Halves...>) {
    struct {
        Int8 at[sizeof...(Halves)];
    } table{{tile_int8<2 * (Halves + 1), Lines>...}};
    return table;
}

using Heights = std::make_integer_sequence<int, kRows>;
using Halves = std::make_integer_sequence<int, kRows / 2>;

}  // namespace

void multiply_bfloat16(int height, Block block, const char* panel, int steps, float* out, int width, bool accumulate,
                       Ahead ahead) {
    static constexpr auto none = bfloat16_table<0>(Heights{});
    static constexpr auto one = bfloat16_table<1>(Heights{});
    static constexpr auto two = bfloat16_table<2>(Heights{});
    const auto& table = ahead.lines == 0 ? none.at : ahead.lines == 1 ? one.at : two.at;
    table[height - 1](block, panel, steps, out, width, accumulate, ahead.at);
}

void multiply_int8(int height, Block block, const char* panel, int steps, std::int32_t* out, Ahead ahead) {
    static constexpr auto none = int8_table<0>(Halves{});
    static constexpr auto one = int8_table<1>(Halves{});
    static constexpr auto two = int8_table<2>(Halves{});
    const auto& table = ahead.lines == 0 ? none.at : ahead.lines == 1 ? one.at : two.at;
    table[height / 2 - 1](block, panel, steps, out, ahead.at);
}

}  // namespace flywheel
