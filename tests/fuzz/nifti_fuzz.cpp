// Any bytes must give a slice along every axis or a promiseg::Error, never anything else. The
// reader opens files, so every input is written to one first. Built by hand it also takes
// -I /usr/include/nifti, -lnifti2 and -lz.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "promiseg/io/file.hpp"
#include "promiseg/io/nifti.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path kPath =
      std::filesystem::temp_directory_path() / ("promiseg_fuzz_" + std::to_string(::getpid()));
  promiseg::write_file(kPath, {reinterpret_cast<const char*>(data), size});
  for (promiseg::SliceAxis axis : promiseg::kSliceAxes) {
    try {
      promiseg::to_8bit(promiseg::read_nifti({kPath, promiseg::Slice{axis, 0}}));
    } catch (const promiseg::Error&) {  // the other accepted outcome
    }
  }
  std::filesystem::remove(kPath);
  return 0;
}
