// Arrays of other libraries, by DLPack and without a copy.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <exception>
#include <optional>
#include <vector>

#include "../core/array.h"
#include "../cuda/cuda.h"

namespace steep {

/// Makes a stream of another library the calling thread's for a block.
class OnStream {
 public:
  OnStream(int device, cuda::Handle stream) : device_(device), before_(cuda::current_stream_of(device)) {
    cuda::set_stream(device, stream);
  }
  OnStream(const OnStream&) = delete;
  ~OnStream() { cuda::set_stream(device_, before_); }

 private:
  int device_;
  cuda::Handle before_;
};

/// The arrays of one call, whose memory their owner keeps alive. The work of a call on CUDA arrays goes to the stream
/// that is current in the library of the output.
class Call {
 public:
  Call(const char* op, nanobind::handle out);
  Call(const Call&) = delete;
  ~Call();
  Array in(const char* argument, nanobind::handle x);
  Array out() const { return out_; }

 private:
  const char* op_;
  const int exceptions_ = std::uncaught_exceptions();
  Array out_;
  Array* tensor_ = nullptr;  // the output, if it is one of steep's, which counts the changes of its memory
  std::optional<OnStream> stream_;
  std::vector<nanobind::ndarray<nanobind::ro>> arrays_;
};

void register_dlpack(nanobind::module_& m);

}  // namespace steep
