// Reading a file from front to back, unpacking it on the way if it is gzip. Needs zlib.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "promiseg/core/error.hpp"
#include "promiseg/io/file.hpp"

namespace promiseg {

/// No byte of a deflate stream makes more than this many.
inline constexpr std::uint64_t kMaxDeflateRatio = 1032;

/// The bytes of a file in their order; those of a gzip file unpacked.
class GzipInput {
 public:
  /// Throws `not_found`, `invalid_argument` for a folder, or `io`.
  explicit GzipInput(const std::filesystem::path& path) : name_(path.string()) {
    require_file(path);
    file_.reset(gzopen(name_.c_str(), "rb"));
    require(file_ != nullptr, ErrorCode::io, name_, ": cannot open: ", std::strerror(errno));
  }

  bool is_compressed() const { return gzdirect(file_.get()) == 0; }

  /// Fills `to` with the next bytes. Throws `bad_format` if there are fewer or they are damaged.
  void read(std::span<std::byte> to) {
    constexpr std::size_t kMaxPart = std::size_t{1} << 30;
    while (!to.empty()) {
      const auto size = static_cast<unsigned>(std::min(to.size(), kMaxPart));
      const int got = gzread(file_.get(), to.data(), size);
      if (got <= 0) fail_damaged();
      to = to.subspan(static_cast<std::size_t>(got));
      position_ += static_cast<std::uint64_t>(got);
    }
  }

  /// Goes on to a byte that lies not before the next one. Throws `invalid_argument` if it does, and
  /// `bad_format`.
  void skip_to(std::uint64_t position) {
    require(position >= position_, ErrorCode::invalid_argument, name_, ": byte ", position,
            " was asked for after byte ", position_);
    const std::uint64_t rest = position - position_;
    // A seek in a plain file drops what is buffered: that pays for long ways only.
    if (rest > kScratch) {
      if (gzseek(file_.get(), static_cast<z_off_t>(rest), SEEK_CUR) < 0) fail_damaged();
      position_ = position;
      return;
    }
    std::array<std::byte, kScratch> scratch;
    read(std::span<std::byte>(scratch).first(static_cast<std::size_t>(rest)));
  }

  /// Reads what is left, so that the checksum of a gzip file is compared. Throws `bad_format`.
  void finish() {
    std::array<std::byte, kScratch> scratch;
    int got = 0;
    do {
      got = gzread(file_.get(), scratch.data(), static_cast<unsigned>(scratch.size()));
    } while (got > 0);
    int state = Z_OK;
    (void)gzerror(file_.get(), &state);
    if (got < 0 || state != Z_OK) fail_damaged();
  }

 private:
  static constexpr std::size_t kScratch = std::size_t{1} << 15;

  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  [[noreturn]] void fail_damaged() const {
    int state = Z_OK;
    (void)gzerror(file_.get(), &state);
    const bool ended = state == Z_OK || state == Z_BUF_ERROR;
    fail(ErrorCode::bad_format, name_,
         ended ? ": truncated: the file ends too early" : ": the compressed data are damaged");
  }

  std::string name_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::uint64_t position_ = 0;
};

}  // namespace promiseg
