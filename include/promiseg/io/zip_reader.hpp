// Reads zip archives that lie in memory. Needs libzip.
#pragma once

#include <zip.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/io/pickle_value.hpp"

namespace promiseg {

/// A read-only archive; the bytes it was opened on must outlive it. Members are known by their
/// full names. Every read checks the member's checksum.
class ZipReader {
 public:
  struct Member {
    std::uint64_t index = 0;
    std::uint64_t size = 0;  ///< uncompressed; possible, given its compressed size
  };
  using Members = std::map<std::string, Member, std::less<>>;

  /// Throws `bad_format` if the directory is damaged, names a member twice, or claims sizes that
  /// its data cannot have.
  explicit ZipReader(std::span<const std::byte> bytes) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
    if (source != nullptr) {
      archive_.reset(zip_open_from_source(source, ZIP_RDONLY, &error));
      if (archive_ == nullptr) zip_source_free(source);
    }
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    require(archive_ != nullptr, ErrorCode::bad_format, "zip: ", reason);
    const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
    for (zip_int64_t i = 0; i < count; ++i) add_member(static_cast<std::uint64_t>(i), bytes.size());
  }

  const Members& members() const { return members_; }
  bool contains(std::string_view name) const { return members_.find(name) != members_.end(); }

  /// Throws `bad_format` if there is no such member.
  const Member& at(std::string_view name) const {
    const auto member = members_.find(name);
    require(member != members_.end(), ErrorCode::bad_format, "the archive has no \"",
            printable(name), "\"");
    return member->second;
  }

  /// A whole member, uncompressed. Throws `bad_format`, also if its checksum is wrong.
  std::vector<std::byte> read(std::string_view name) const {
    const Member& member = at(name);
    const std::unique_ptr<zip_file_t, CloseFile> file(
        zip_fopen_index(archive_.get(), member.index, 0));
    require(file != nullptr, ErrorCode::bad_format, "zip member \"", printable(name),
            "\": ", zip_strerror(archive_.get()));
    std::vector<std::byte> data(static_cast<std::size_t>(member.size));
    std::size_t done = 0;
    std::byte beyond{};
    while (true) {
      const bool full = done == data.size();
      const zip_int64_t got =
          full ? zip_fread(file.get(), &beyond, 1)  // the checksum is compared at the end
               : zip_fread(file.get(), data.data() + done, data.size() - done);
      require(got >= 0, ErrorCode::bad_format, "zip member \"", printable(name),
              "\": ", zip_file_strerror(file.get()));
      if (got == 0) break;
      require(!full, ErrorCode::bad_format, "zip member \"", printable(name),
              "\": more data than its size of ", member.size);
      done += static_cast<std::size_t>(got);
    }
    require(done == data.size(), ErrorCode::bad_format, "zip member \"", printable(name),
            "\": the data end after ", done, " of ", data.size(), " bytes");
    return data;
  }

 private:
  struct Discard {
    void operator()(zip_t* archive) const { zip_discard(archive); }
  };
  struct CloseFile {
    void operator()(zip_file_t* file) const { zip_fclose(file); }
  };

  void add_member(std::uint64_t index, std::uint64_t archive_size) {
    zip_stat_t status;
    zip_stat_init(&status);
    const char* name = zip_get_name(archive_.get(), index, ZIP_FL_ENC_RAW);
    constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    require(name != nullptr && zip_stat_index(archive_.get(), index, 0, &status) == 0 &&
                (status.valid & kNeeded) == kNeeded,
            ErrorCode::bad_format, "zip: member ", index, " is damaged");
    // Deflate cannot do better than 1032 to 1.
    const std::uint64_t possible =
        status.comp_method == ZIP_CM_STORE ? status.comp_size : status.comp_size * 1032;
    require(status.comp_size <= archive_size && status.size <= possible, ErrorCode::bad_format,
            "zip member \"", printable(name), "\": ", status.size, " bytes from ", status.comp_size,
            " in an archive of ", archive_size, " cannot be");
    require(members_.emplace(name, Member{index, status.size}).second, ErrorCode::bad_format,
            "zip: the archive holds \"", printable(name), "\" twice");
  }

  std::unique_ptr<zip_t, Discard> archive_;
  Members members_;
};

}  // namespace promiseg
