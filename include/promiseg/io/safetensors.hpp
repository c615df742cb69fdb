// The safetensors container: an 8-byte little-endian header length, a JSON header that names every
// tensor's type, shape and byte range, then the data.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/core/dtype.hpp"
#include "promiseg/core/tensor.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/json.hpp"

namespace promiseg {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

/// One named array of a file: its type, its shape and its row-major bytes.
struct TensorEntry {
  DType dtype = DType::f32;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

/// A read-only safetensors file. Opening checks the whole header: every byte range must lie in the
/// file, match type and shape, and overlap no other. The tensors are views of the mapped file and
/// live as long as this object.
class SafetensorsFile {
 public:
  using Entries = std::map<std::string, TensorEntry, std::less<>>;

  /// Throws what `MappedFile` throws, `bad_format` naming the file and what is wrong, or
  /// `unsupported` for a tensor of a type that `DType` does not have.
  explicit SafetensorsFile(const std::filesystem::path& path) : file_(path), name_(path.string()) {
    parse(file_.bytes());
  }

  const std::string& name() const { return name_; }
  const Entries& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

  /// See `MappedFile`.
  void drop_pages() const { file_.drop_pages(); }

  /// Throws `not_found` naming the tensor and the file.
  const TensorEntry& at(std::string_view name) const {
    const auto entry = tensors_.find(name);
    require(entry != tensors_.end(), ErrorCode::not_found, name_, ": no tensor \"", name, "\"");
    return entry->second;
  }

  /// A typed view. Throws `not_found`, or `shape_mismatch` if the type or the rank is another.
  template <class T, std::size_t Rank>
  TensorView<const T, Rank> view(std::string_view name) const {
    const TensorEntry& entry = at(name);
    require(entry.dtype == dtype_of<T> && entry.shape.size() == Rank, ErrorCode::shape_mismatch,
            name_, ": tensor \"", name, "\": expected ", to_string(dtype_of<T>), " of rank ", Rank,
            ", got ", to_string(entry.dtype), " ",
            ShapeText{entry.shape.data(), entry.shape.size()});
    Extents<Rank> extents{};
    for (std::size_t axis = 0; axis < Rank; ++axis) extents[axis] = entry.shape[axis];
    return {reinterpret_cast<const T*>(entry.bytes.data()), extents};
  }

 private:
  void parse(std::span<const std::byte> bytes) {
    std::uint64_t header_size = 0;
    require(bytes.size() >= sizeof header_size, ErrorCode::bad_format, name_,
            ": expected a safetensors file, got only ", bytes.size(), " bytes");
    std::memcpy(&header_size, bytes.data(), sizeof header_size);
    require(header_size <= bytes.size() - sizeof header_size, ErrorCode::bad_format, name_,
            ": expected a safetensors file; its header would take ", header_size, " of ",
            bytes.size(), " bytes (truncated, or another kind of file)");
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof header_size,
                                static_cast<std::size_t>(header_size));
    const std::span<const std::byte> data =
        bytes.subspan(sizeof header_size + static_cast<std::size_t>(header_size));
    try {
      const Json header = Json::parse(text);
      for (const auto& [key, value] : header.as_object()) {
        if (key == "__metadata__") {
          for (const auto& [name, item] : value.as_object()) metadata_[name] = item.as_string();
        } else {
          add_entry(key, value, data);
        }
      }
    } catch (const Error& error) {
      fail(error.code(), name_, ": safetensors header: ", error.what());
    }
    require_disjoint(data);
    for (auto& [name, entry] : tensors_) align(entry);
  }

  /// The format asks for no alignment, but typed views need it: a tensor that lies askew is copied.
  void align(TensorEntry& entry) {
    if (reinterpret_cast<std::uintptr_t>(entry.bytes.data()) % size_of(entry.dtype) == 0) return;
    auto& copy = aligned_copies_.emplace_back(entry.bytes.begin(), entry.bytes.end());
    entry.bytes = copy;
  }

  void add_entry(const std::string& key, const Json& value, std::span<const std::byte> data) {
    const std::optional<DType> dtype = dtype_from_string(value.at("dtype").as_string());
    require(dtype.has_value(), ErrorCode::unsupported, "tensor \"", key, "\": unknown type ",
            value.at("dtype").as_string());
    TensorEntry entry;
    entry.dtype = *dtype;
    std::uint64_t size = size_of(*dtype);
    Index span = 1;  // the extents' product but for zeros: strides of views must not overflow
    for (const Json& item : value.at("shape").as_array()) {
      const std::int64_t extent = item.as_integer();
      require(
          extent >= 0 && (extent == 0 || size <= data.size() / static_cast<std::uint64_t>(extent)),
          ErrorCode::bad_format, "tensor \"", key, "\": its shape is larger than the file");
      require(extent == 0 || span <= std::numeric_limits<Index>::max() / extent,
              ErrorCode::bad_format, "tensor \"", key, "\": its shape is too large");
      span *= std::max<Index>(extent, 1);
      size *= static_cast<std::uint64_t>(extent);
      entry.shape.push_back(static_cast<Index>(extent));
    }
    const Json::Array& range = value.at("data_offsets").as_array();
    require(range.size() == 2, ErrorCode::bad_format, "tensor \"", key,
            "\": data_offsets needs two numbers");
    const std::int64_t begin = range[0].as_integer();
    const std::int64_t end = range[1].as_integer();
    require(begin >= 0 && end >= begin && static_cast<std::uint64_t>(end) <= data.size(),
            ErrorCode::bad_format, "tensor \"", key, "\" lies in bytes ", begin, " to ", end,
            ", but the file holds ", data.size(), " bytes of data (truncated?)");
    require(static_cast<std::uint64_t>(end - begin) == size, ErrorCode::bad_format, "tensor \"",
            key, "\": type and shape need ", size, " bytes, the file gives ", end - begin);
    entry.bytes = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
    require(tensors_.emplace(key, std::move(entry)).second, ErrorCode::bad_format, "tensor \"", key,
            "\" is there twice");
  }

  void require_disjoint(std::span<const std::byte> data) const {
    std::map<const std::byte*, const Entries::value_type*> by_address;
    for (const auto& item : tensors_) {
      if (item.second.bytes.empty()) continue;
      const auto [place, added] = by_address.emplace(item.second.bytes.data(), &item);
      require(added, ErrorCode::bad_format, name_, ": tensors \"", item.first, "\" and \"",
              place->second->first, "\" share the same bytes");
    }
    const std::byte* end = data.data();
    for (const auto& [address, item] : by_address) {
      require(address >= end, ErrorCode::bad_format, name_, ": tensor \"", item->first,
              "\" overlaps another");
      end = address + item->second.bytes.size();
    }
  }

  MappedFile file_;
  std::string name_;
  Entries tensors_;
  std::map<std::string, std::string> metadata_;
  std::deque<std::vector<std::byte, AlignedAllocator<std::byte>>> aligned_copies_;
};

/// Collects tensors and writes them as one file, in the order of adding. The bytes of an added
/// tensor are referenced, not copied: they must outlive `write`, unless `adopt` took them over.
class SafetensorsWriter {
 public:
  void set_metadata(std::string key, std::string value) {
    metadata_.set(std::move(key), std::move(value));
  }

  void add(std::string name, const TensorEntry& entry) {
    entries_.emplace_back(std::move(name), entry);
  }

  /// Adds a contiguous view. Throws `invalid_argument` if it has gaps.
  template <class T, std::size_t Rank>
  void add(std::string name, TensorView<T, Rank> view) {
    require(view.is_contiguous(), ErrorCode::invalid_argument, "tensor \"", name,
            "\": only contiguous tensors can be written");
    const auto* bytes = reinterpret_cast<const std::byte*>(view.data());
    add(std::move(name), TensorEntry{dtype_of<std::remove_cv_t<T>>,
                                     {view.extents().begin(), view.extents().end()},
                                     {bytes, static_cast<std::size_t>(view.size()) * sizeof(T)}});
  }

  /// Adds a copy of a view of any strides.
  template <class T, std::size_t Rank>
  void adopt(std::string name, TensorView<T, Rank> view) {
    using Value = std::remove_cv_t<T>;
    auto copy = std::make_shared<Tensor<Value, Rank>>(TensorView<const Value, Rank>(view));
    add(std::move(name), std::as_const(*copy).view());
    adopted_.push_back(std::move(copy));
  }

  /// Writes the file atomically. Throws what `AtomicFile` throws.
  void write(const std::filesystem::path& path) const {
    AtomicFile file(path);
    write(file);
    file.commit();
  }

  /// Writes everything and leaves it to the caller to commit, for files that belong together.
  /// Throws what `AtomicFile::write` throws.
  void write(AtomicFile& file) const {
    Json header;
    if (!metadata_.is_null()) header.set("__metadata__", metadata_);
    std::int64_t offset = 0;
    for (const auto& [name, entry] : entries_) {
      const auto size = static_cast<std::int64_t>(entry.bytes.size());
      Json shape = Json::array(std::vector<std::int64_t>(entry.shape.begin(), entry.shape.end()));
      header.set(name, Json::Object{{"dtype", to_string(entry.dtype)},
                                    {"shape", std::move(shape)},
                                    {"data_offsets", Json::Array{offset, offset + size}}});
      offset += size;
    }
    std::string text = header.is_null() ? "{}" : header.dump();
    text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
    const std::uint64_t header_size = text.size();
    file.write(std::as_bytes(std::span(&header_size, 1)));
    file.write(std::as_bytes(std::span(text)));
    for (const auto& [name, entry] : entries_) file.write(entry.bytes);
  }

 private:
  static constexpr std::size_t kHeaderAlignment = 8;  // the data then starts at a multiple of 8

  Json metadata_;
  std::vector<std::pair<std::string, TensorEntry>> entries_;
  std::vector<std::shared_ptr<const void>> adopted_;
};

}  // namespace promiseg
