// Any bytes must open as a safetensors file or give a promiseg::Error, and what opens must lie in
// the file. The reader maps files, so every input is written to one first.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "promiseg/io/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path kPath =
      std::filesystem::temp_directory_path() / ("promiseg_fuzz_" + std::to_string(::getpid()));
  promiseg::write_file(kPath, {reinterpret_cast<const char*>(data), size});
  try {
    const promiseg::SafetensorsFile file(kPath);
    unsigned sum = 0;
    for (const auto& [name, entry] : file.tensors()) {
      for (std::byte byte : entry.bytes) sum += std::to_integer<unsigned>(byte);
    }
    // Keeps the reads from being optimised away.
    volatile unsigned sink = sum;
    static_cast<void>(sink);
  } catch (const promiseg::Error&) {  // the other accepted outcome
  }
  std::filesystem::remove(kPath);
  return 0;
}
