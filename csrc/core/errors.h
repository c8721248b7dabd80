// Errors of the engine. The bindings turn them into Python's: std::invalid_argument is ValueError, std::out_of_range
// IndexError, std::runtime_error RuntimeError, and the two below TypeError and MemoryError.
#pragma once
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace steep {

struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct MemoryError : std::bad_alloc {
  explicit MemoryError(std::string text) : text(std::move(text)) {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

/// message("axis ", axis, " is out of range") as one string.
template <class... Part>
std::string message(const Part&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace steep
