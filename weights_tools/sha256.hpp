// SHA-256, and the hash that names a set of weights. Needs OpenSSL's libcrypto.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/io/safetensors.hpp"

namespace promiseg::tools {

/// SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  /// Throws `unsupported` if the OpenSSL at hand offers no SHA-256.
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);

  /// 64 lower-case hexadecimal digits; the object starts over with no bytes.
  std::string finish();

 private:
  struct State;
  void restart();
  std::unique_ptr<State> state_;
};

std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);

/// Of a whole file, read piece by piece. Throws `not_found` or `io`.
std::string sha256_of_file(const std::filesystem::path& path);

/// Names of tensors with their types, shapes and row-major little-endian bytes.
using TensorEntries = std::map<std::string, TensorEntry, std::less<>>;

/// The hash that names a model or pack wherever its file came from: equal weights, equal hash. It
/// is the SHA-256 of, for every tensor in ascending byte order of the names, one line of text
///
///     LENGTH:NAME DTYPE [D0, D1, ...]\n
///
/// followed by the tensor's bytes. LENGTH counts the name's bytes, DTYPE is the name in safetensors
/// files, the extents are decimal and separated by a comma and a space ("[]" for a single number).
/// Length, type and shape tell where the name and the data end, so no two sets of tensors give the
/// same stream of bytes.
std::string weights_sha256(const TensorEntries& tensors);

}  // namespace promiseg::tools
