// NIfTI volumes for tests, byte by byte.
#pragma once

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "temporary_folder.hpp"

namespace promiseg_test {

/// What a NIfTI file holds; tests change what they need. Without voxels as a start.
struct NiftiFile {
  int version = 1;
  bool big_endian = false;
  bool separate = false;  ///< a header whose voxels are in a file of their own
  std::array<std::int64_t, 8> dim{3, 1, 1, 1, 1, 1, 1, 1};
  std::int16_t datatype = 0;
  double voxel_offset = -1;  ///< -1: where they are
  double slope = 0;
  double intercept = 0;
  std::int16_t qform_code = 0;
  std::array<double, 3> quaternion{};
  double handedness = 1;
  std::int16_t sform_code = 0;
  std::array<std::array<double, 4>, 3> sform{};
  std::vector<char> voxels;  ///< in this machine's byte order
  std::size_t voxel_bytes = 1;

  template <class T>
  void set_voxels(std::int16_t type, const std::vector<T>& values) {
    datatype = type;
    voxel_bytes = sizeof(T);
    voxels.resize(values.size() * sizeof(T));
    std::memcpy(voxels.data(), values.data(), voxels.size());
  }

  std::vector<char> header() const {
    const bool first = version == 1;
    const std::size_t size = first ? 348 : 540;
    std::vector<char> bytes(size + 4);
    const auto put = [&](std::size_t at, auto value) {
      std::array<char, sizeof value> raw{};
      std::memcpy(raw.data(), &value, sizeof value);
      if (is_foreign()) std::reverse(raw.begin(), raw.end());
      std::copy(raw.begin(), raw.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    };
    const std::size_t real_bytes = first ? sizeof(float) : sizeof(double);
    const auto put_reals = [&](std::size_t at, std::span<const double> values) {
      for (double value : values) {
        first ? put(at, static_cast<float>(value)) : put(at, value);
        at += real_bytes;
      }
    };
    put(0, static_cast<std::int32_t>(size));
    for (std::size_t i = 0; i < 8; ++i) {
      first ? put(40 + 2 * i, static_cast<std::int16_t>(dim[i])) : put(16 + 8 * i, dim[i]);
    }
    put(first ? 70 : 12, datatype);
    const std::array<double, 8> spacing{handedness, 1, 1, 1, 1, 1, 1, 1};
    put_reals(first ? 76 : 104, spacing);
    const double begin = separate ? 0.0 : static_cast<double>(bytes.size());
    const double offset = voxel_offset == -1 ? begin : voxel_offset;
    first ? put(108, static_cast<float>(offset)) : put(168, static_cast<std::int64_t>(offset));
    const std::array<double, 2> scale{slope, intercept};
    put_reals(first ? 112 : 176, scale);
    first ? put(252, qform_code) : put(344, std::int32_t{qform_code});
    first ? put(254, sform_code) : put(348, std::int32_t{sform_code});
    put_reals(first ? 256 : 352, quaternion);
    for (std::size_t row = 0; row < 3; ++row) {
      put_reals(first ? 280 + 16 * row : 400 + 32 * row, sform[row]);
    }
    using namespace std::string_view_literals;
    std::string magic(first ? "n+1\0"sv : "n+2\0\r\n\x1a\n"sv);
    if (separate) magic[1] = 'i';
    std::copy(magic.begin(), magic.end(), bytes.begin() + (first ? 344 : 4));
    return bytes;
  }

  std::vector<char> stored_voxels() const {
    std::vector<char> bytes = voxels;
    for (std::size_t at = 0; is_foreign() && at < bytes.size(); at += voxel_bytes) {
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      std::reverse(begin, begin + static_cast<std::ptrdiff_t>(voxel_bytes));
    }
    return bytes;
  }

  /// The header, and the voxels unless they are in a file of their own.
  std::vector<char> bytes() const {
    std::vector<char> all = header();
    if (separate) return all;
    const std::vector<char> stored = stored_voxels();
    all.insert(all.end(), stored.begin(), stored.end());
    return all;
  }

  void save(const std::filesystem::path& path) const { write_bytes(path, bytes()); }

 private:
  bool is_foreign() const { return big_endian == (std::endian::native == std::endian::little); }
};

inline void write_gzip(const std::filesystem::path& path, std::span<const char> bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  const auto size = static_cast<unsigned>(bytes.size());
  CHECK(gzwrite(file, bytes.data(), size) == static_cast<int>(size));
  CHECK(gzclose(file) == Z_OK);
}

}  // namespace promiseg_test
