// Any bytes must give a checkpoint or a promiseg::Error, never anything else. The first byte
// chooses the entry: the unpickler alone, or a whole checkpoint file.
#include <cstddef>
#include <cstdint>
#include <span>

#include "promiseg/io/torch_checkpoint.hpp"
#include "promiseg/io/unpickler.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size)).subspan(1);
  try {
    if (data[0] % 2 == 0) {
      promiseg::unpickle(bytes);
    } else {
      promiseg::parse_torch_checkpoint(bytes, "fuzz");
    }
  } catch (const promiseg::Error&) {  // the other accepted outcome
  }
  return 0;
}
