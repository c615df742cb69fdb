// Reading files by mapping them, and writing them so that they are never seen half-written.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define PROMISEG_HAS_MMAP 1
#else
#define PROMISEG_HAS_MMAP 0
#endif

namespace promiseg {

/// Throws `not_found` or `invalid_argument` unless `path` names a file (not a folder).
inline void require_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  require(std::filesystem::exists(status), ErrorCode::not_found, path.string(),
          ": no such file or folder");
  require(!std::filesystem::is_directory(status), ErrorCode::invalid_argument, path.string(),
          ": expected a file, this is a folder");
}

/// The bytes of a file, mapped read-only into memory where the system can, else read.
class MappedFile {
 public:
  /// Throws `not_found`, `invalid_argument` for a folder, or `io`.
  explicit MappedFile(const std::filesystem::path& path) {
    require_file(path);
#if PROMISEG_HAS_MMAP
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require(descriptor >= 0, ErrorCode::io, path.string(), ": cannot open: ", std::strerror(errno));
    struct stat status {};
    const bool known = ::fstat(descriptor, &status) == 0;
    size_ = known ? static_cast<std::size_t>(status.st_size) : 0;
    void* address =
        size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0) : nullptr;
    const int reason = errno;
    ::close(descriptor);
    require(known && address != MAP_FAILED, ErrorCode::io, path.string(),
            ": cannot map: ", std::strerror(reason));
    data_ = static_cast<const std::byte*>(address);
#else
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    require(file.good(), ErrorCode::io, path.string(), ": cannot open");
    contents_.resize(static_cast<std::size_t>(file.tellg()));
    file.seekg(0);
    file.read(reinterpret_cast<char*>(contents_.data()),
              static_cast<std::streamsize>(contents_.size()));
    require(file.good(), ErrorCode::io, path.string(), ": cannot read");
    data_ = contents_.data();
    size_ = contents_.size();
#endif
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
#if PROMISEG_HAS_MMAP
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
#endif
  }

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Gives the memory that holds the bytes back to the system. They stay readable: what is read
  /// again comes from the file, or from the system's cache of it.
  void drop_pages() const {
#if PROMISEG_HAS_MMAP
    if (data_ != nullptr) ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
#endif
  }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(contents_, other.contents_);
  }

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::vector<std::byte> contents_;  // used where files cannot be mapped
};

/// A file that appears under its name only when `commit` is called: it is written beside and then
/// renamed, so a reader sees the old file or the whole new one. Without `commit`, nothing remains.
/// This is about readers, not about power cuts: nothing is forced to the disk.
class AtomicFile {
 public:
  /// Throws `not_found` if the folder is missing, `invalid_argument` if the path is empty or names
  /// something that is not an ordinary file (a folder, a device), and `io` if the system refuses.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    require(!path_.empty(), ErrorCode::invalid_argument, "expected a file to write, got no name");
    require_folder();
    require_replaceable();
    open_beside();
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (committed_) return;
    stream_.reset();
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }

  /// Throws `io`, for instance when the disk is full, and `invalid_argument` after `commit`.
  void write(std::span<const std::byte> bytes) {
    require_open();
    if (bytes.empty()) return;
    require(std::fwrite(bytes.data(), 1, bytes.size(), stream_.get()) == bytes.size(),
            ErrorCode::io, path_.string(), ": cannot write ", bytes.size(),
            " bytes: ", std::strerror(errno));
  }

  /// Finishes the file and gives it its name. Throws `io`, and `invalid_argument` the second time.
  void commit() {
    require_open();
    require(std::fclose(stream_.release()) == 0, ErrorCode::io, path_.string(),
            ": cannot finish writing: ", std::strerror(errno));
    std::error_code error;
    std::filesystem::rename(temporary_, path_, error);
    require(!error, ErrorCode::io, path_.string(), ": cannot rename: ", error.message());
    committed_ = true;
  }

 private:
  struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };

  void require_folder() const {
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(folder, error);
    require(std::filesystem::status_known(status), ErrorCode::io, path_.string(), ": the folder ",
            folder.string(), " cannot be looked at: ", error.message());
    require(std::filesystem::is_directory(status), ErrorCode::not_found, path_.string(),
            ": the folder ", folder.string(), " does not exist");
  }

  void require_replaceable() const {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path_, error);
    require(std::filesystem::status_known(status), ErrorCode::io, path_.string(),
            ": cannot write: ", error.message());
    require(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
            ErrorCode::invalid_argument, path_.string(),
            ": this is not an ordinary file, it will not be replaced");
  }

  /// Creates the temporary file. The process id keeps writers of one file apart; names that are
  /// taken all the same (by another thread, or left by a crash) are passed over.
  void open_beside() {
    constexpr int kAttempts = 100;
    std::string name = path_.string() + ".partial.";
#if PROMISEG_HAS_MMAP
    name += std::to_string(::getpid());
#endif
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      std::string candidate = attempt == 0 ? name : name + "." + std::to_string(attempt);
      stream_.reset(std::fopen(candidate.c_str(), "wbx"));
      if (stream_ != nullptr) {
        temporary_ = std::move(candidate);
        return;
      }
      if (errno != EEXIST) break;
    }
    fail(ErrorCode::io, path_.string(), ": cannot write: ", std::strerror(errno));
  }

  void require_open() const {
    require(stream_ != nullptr, ErrorCode::invalid_argument, path_.string(),
            ": this file is finished already");
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<std::FILE, Close> stream_;
  bool committed_ = false;
};

/// Writes a whole file at once, atomically. Throws what `AtomicFile` throws.
inline void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace promiseg
