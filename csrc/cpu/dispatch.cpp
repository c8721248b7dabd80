// Picks the kernel table once, when the module is loaded. Compiled for the baseline: it must run anywhere.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "../core/errors.h"
#include "../core/kernels.h"
#include "../cuda/table.h"

#define STEEP_DECLARE(set)                                                                                           \
  namespace steep::set {                                                                                             \
  void fill_unary(Kernels&);                                                                                         \
  void fill_binary(Kernels&);                                                                                        \
  void fill_cast(Kernels&);                                                                                          \
  void fill_reduce(Kernels&);                                                                                        \
  void fill_softmax(Kernels&);                                                                                       \
  void fill_cross_entropy(Kernels&);                                                                                 \
  void fill_layer_norm(Kernels&);                                                                                    \
  void fill_rms_norm(Kernels&);                                                                                      \
  void fill_distances(Kernels&);                                                                                     \
  void fill_sort(Kernels&);                                                                                          \
  void fill_optimizer(Kernels&);                                                                                     \
  void fill_gradients(Kernels&);                                                                                     \
  void fill_gemm(Kernels&);                                                                                          \
  void fill_memory(Kernels&);                                                                                        \
  static void fill(Kernels& k) {                                                                                     \
    k.isa = #set;                                                                                                    \
    fill_unary(k), fill_binary(k), fill_cast(k), fill_reduce(k), fill_softmax(k), fill_cross_entropy(k),             \
        fill_layer_norm(k), fill_rms_norm(k), fill_distances(k), fill_sort(k), fill_optimizer(k), fill_gradients(k), \
        fill_gemm(k), fill_memory(k);                                                                                \
  }                                                                                                                  \
  }

#ifdef STEEP_HAS_neon
STEEP_DECLARE(neon)
#else
STEEP_DECLARE(sse4)
STEEP_DECLARE(avx2)
STEEP_DECLARE(avx512)
#endif

#ifdef STEEP_HAS_avx512_bf16
namespace steep::avx512_bf16 {
void fill_gemm_bf16(Kernels&);
}
#endif

namespace steep {
namespace {

struct Isa {
  const char* name;
  bool available;
  void (*fill)(Kernels&);
};

/// All the sets of this build, best first.
const auto& isas() {
#ifdef STEEP_HAS_neon
  static const std::array all{Isa{"neon", true, neon::fill}};
#else
  __builtin_cpu_init();
  static const std::array all{Isa{"avx512", bool(__builtin_cpu_supports("x86-64-v4")), avx512::fill},
                              Isa{"avx2", bool(__builtin_cpu_supports("x86-64-v3")), avx2::fill},
                              Isa{"sse4", bool(__builtin_cpu_supports("x86-64-v2")), sse4::fill}};
#endif
  return all;
}

Kernels choose() {
  const char* wanted = std::getenv("STEEP_ISA");
  const bool any = !wanted || !*wanted;
  std::string names;
  for (const Isa& isa : isas()) {
    if (!isa.available) continue;
    if (any || std::string_view(wanted) == isa.name) {
      Kernels k{};
      isa.fill(k);
#ifdef STEEP_HAS_avx512_bf16
      if (std::string_view(isa.name) == "avx512" && __builtin_cpu_supports("avx512bf16"))
        avx512_bf16::fill_gemm_bf16(k);
#endif
      return k;
    }
    names += std::string(names.empty() ? "" : ", ") + isa.name;
  }
  if (any) throw std::runtime_error("steep needs an x86-64-v2 CPU (SSE4.2, from about 2009) or newer");
  throw std::invalid_argument(message("STEEP_ISA='", wanted, "' is not available here: use one of ", names));
}

}  // namespace

namespace {

/// The chosen set's table, its rows copied so that they can take CUDA's launches too.
struct Everything {
  Kernels table = choose();
  std::vector<UnaryKernel> unary{table.unary.begin(), table.unary.end()};
  std::vector<BinaryKernel> binary{table.binary.begin(), table.binary.end()};
  std::vector<ReduceKernel> reduce{table.reduce.begin(), table.reduce.end()};
  std::vector<ArgReduceKernel> arg_reduce{table.arg_reduce.begin(), table.arg_reduce.end()};

  Everything() {
    table.unary = unary, table.binary = binary, table.reduce = reduce, table.arg_reduce = arg_reduce;
    cuda::fill_launches(unary, binary, reduce, arg_reduce, table);
  }
};

}  // namespace

const Kernels& kernels() {
  static const Everything all;
  return all.table;
}

std::span<const char* const> available_isas() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> out;
    for (const Isa& isa : isas())
      if (isa.available) out.push_back(isa.name);
    return out;
  }();
  return names;
}

}  // namespace steep
