#include "settings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace steep::cuda::emulator {
namespace {

std::string variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

/// `fallback` where the variable is not set or no number.
long number(const char* name, long fallback, long least, long most) {
  const std::string text = variable(name);
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  return text.empty() || *end ? fallback : std::clamp(value, least, most);
}

Settings read() {
  Settings s;
  const std::string schedule = variable("STEEP_EMULATOR_SCHEDULE");
  if (schedule == "reverse")
    s.order = Order::reverse;
  else if (schedule.starts_with("random"))
    s.order = Order::random;
  else if (!schedule.empty() && schedule != "forward")
    std::fprintf(stderr, "STEEP_EMULATOR_SCHEDULE=%s must be forward, reverse, random or random:seed\n",
                 schedule.c_str());
  if (schedule.starts_with("random:")) s.seed = std::strtoull(schedule.c_str() + 7, nullptr, 10);
  s.eager = number("STEEP_EMULATOR_EAGER", 0, 0, 1);
  s.guard = number("STEEP_EMULATOR_GUARD", 1, 0, 1);
  s.devices = int(number("STEEP_EMULATED_DEVICES", s.devices, 0, 16));
  s.capability = int(number("STEEP_EMULATED_CAPABILITY", s.capability, 10, 999));
  s.driver = int(number("STEEP_EMULATED_DRIVER", s.driver, 0, 99990));
  s.memory = size_t(number("STEEP_EMULATED_MEMORY", 2048, 1, 1 << 20)) << 20;
  return s;
}

}  // namespace

const Settings& settings() {
  static const Settings all = read();
  return all;
}

}  // namespace steep::cuda::emulator
