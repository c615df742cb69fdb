// Damaging good files in many ways to see that a reader survives.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/core/error.hpp"
#include "temporary_folder.hpp"

namespace promiseg_test {

/// Every beginning of the file (`step` bytes apart) must be refused with `promiseg::Error`.
template <class Read>
void check_truncations(const std::filesystem::path& good, std::size_t step, Read read) {
  const std::vector<char> bytes = read_bytes(good);
  REQUIRE_NOTHROW(read(good));
  const std::filesystem::path bad = good.string() + ".cut";
  for (std::size_t size = 0; size < bytes.size(); size += step) {
    CAPTURE(size);
    write_bytes(bad, std::span(bytes).first(size));
    CHECK_THROWS_AS(read(bad), promiseg::Error);
  }
}

/// A file with a few bytes changed must be read or refused with `promiseg::Error`: no other
/// exception, no crash. The first `dense` bytes (headers) get half of the changes.
template <class Read>
void check_flips(const std::filesystem::path& good, std::size_t dense, int rounds, Read read) {
  const std::vector<char> bytes = read_bytes(good);
  const std::filesystem::path bad = good.string() + ".flip";
  std::mt19937 random(12345);
  const auto below = [&](std::size_t limit) { return std::size_t{random()} % limit; };
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    std::vector<char> changed = bytes;
    for (std::size_t change = 0; change <= below(3); ++change) {
      const std::size_t limit = random() % 2 == 0 ? std::min(dense, bytes.size()) : bytes.size();
      changed[below(limit)] = static_cast<char>(random());
    }
    write_bytes(bad, changed);
    try {
      read(bad);
    } catch (const promiseg::Error& error) {
      ++refused;
      CHECK(std::string_view(error.what()).find(bad.string()) != std::string_view::npos);
    }
  }
  CHECK(refused > 0);
}

}  // namespace promiseg_test
