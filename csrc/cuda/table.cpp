#include "table.h"

#include "graph.h"
#include "runtime.h"

namespace steep::cuda {

void fill_unary(std::span<UnaryKernel> rows);
void fill_binary(std::span<BinaryKernel> rows);
void fill_cast(Kernels& kernels);
void fill_reduce(std::span<ReduceKernel> reduce, std::span<ArgReduceKernel> arg_reduce);
void fill_softmax(Table& table);
void fill_cross_entropy(Table& table);
void fill_layer_norm(Table& table);
void fill_bias_gradient(Table& table);
void fill_rms_norm(Table& table);
void fill_optimizer(Table& table);
void fill_gradients(Table& table);
void fill_gemm(Table& table);
void fill_indexing(Table& table);
void fill_nonzero(Table& table);
void fill_random(Table& table);
void fill_scan(Table& table);
void fill_sort(Table& table);

namespace {

Table make() {
  Table t{};
  t.set_device = set_device;
  t.restore_device = restore_device;
  t.current_stream = [] { return static_cast<void*>(current_stream()); };
  t.allocate = allocate;
  t.deallocate = deallocate;
  t.use_on_current_stream = [](Storage& storage) { use_on_current_stream(storage.data); };
  t.copy_to_device = copy_to_device;
  t.copy_to_host = copy_to_host;
  t.copy_between = copy_between;
  t.is_recording = [] { return recording() != nullptr; };
  t.keep = [](Storage& storage, void (*retain)(void*), void (*release)(void*)) {
    if (is_of_graph(recording()->id(), storage.data)) return false;
    recording()->keep(&storage, storage.version, retain, release);
    return true;
  };
  t.refuse_to_read = refuse_to_read;
  t.add_check = [](std::function<void(int64_t)> fail) { return recording()->add_check(std::move(fail)); };
  t.rewrites = []() -> std::vector<Rewrite>& { return recording()->rewrites; };
  fill_softmax(t), fill_cross_entropy(t), fill_layer_norm(t), fill_rms_norm(t), fill_optimizer(t), fill_gemm(t),
      fill_indexing(t), fill_bias_gradient(t);
  fill_gradients(t), fill_nonzero(t), fill_random(t), fill_scan(t), fill_sort(t);
  return t;
}

}  // namespace

const Table* table() {
  static const Table all = make();
  return &all;
}

void fill_launches(std::span<UnaryKernel> unary, std::span<BinaryKernel> binary, std::span<ReduceKernel> reduce,
                   std::span<ArgReduceKernel> arg_reduce, Kernels& kernels) {
  fill_unary(unary), fill_binary(binary), fill_reduce(reduce, arg_reduce), fill_cast(kernels);
}

}  // namespace steep::cuda
