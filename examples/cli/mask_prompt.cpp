#include "mask_prompt.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "promiseg/io/file.hpp"
#include "promiseg/io/image_reader.hpp"

namespace promiseg::cli {
namespace {

constexpr std::string_view kNumpyMagic = "\x93NUMPY";

/// The header text and the data of a .npy file, versions 1 to 3.
struct NumpyFile {
  std::string_view header;
  std::span<const std::byte> data;
};

NumpyFile split_numpy(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  require(bytes.size() >= 12, ErrorCode::bad_format, "truncated NumPy array");
  const bool short_length = text[6] == 1;
  std::uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, short_length ? 2 : 4);
  const std::size_t begin = short_length ? 10 : 12;
  require(length <= bytes.size() - begin, ErrorCode::bad_format, "truncated NumPy array");
  return {text.substr(begin, length), bytes.subspan(begin + length)};
}

Tensor<float, 2> read_numpy(std::span<const std::byte> bytes, Index side) {
  const auto [header, data] = split_numpy(bytes);
  require(header.find("'<f4'") != std::string_view::npos &&
              header.find("'fortran_order': False") != std::string_view::npos,
          ErrorCode::unsupported,
          "expected a NumPy array of little-endian float32 in C order, its header is ", header);
  Tensor<float, 2> logits({side, side});
  const std::size_t size = logits.elements().size_bytes();
  require(data.size() == size, ErrorCode::shape_mismatch, "expected logits of shape [", side, ", ",
          side, "], which are ", size, " bytes, got ", data.size());
  std::memcpy(logits.data(), data.data(), size);
  for (float logit : logits.elements()) {
    require(std::isfinite(logit), ErrorCode::bad_format, "the logits hold NaN or infinity");
  }
  return logits;
}

/// A picture says yes or no; logits of this size are as sure as the model's own.
constexpr float kSureLogit = 10.0F;

Tensor<float, 2> read_picture(const std::filesystem::path& path, const FrameGeometry& geometry,
                              Index side) {
  const Image image = to_8bit(read_image(path), std::nullopt);
  const ImageSize size{image.extent(0), image.extent(1)};
  require(size == geometry.original, ErrorCode::shape_mismatch, "expected the image's size ",
          geometry.original.width, " x ", geometry.original.height, ", got ", size.width, " x ",
          size.height);
  Tensor<float, 3> inside({size.height, size.width, 1});
  for (Index y = 0; y < size.height; ++y) {
    for (Index x = 0; x < size.width; ++x) {
      inside.view()(y, x, 0) = image.view()(y, x, 0) > 127 ? 1.0F : 0.0F;
    }
  }
  const ImageSize target = longest_side_size(size, side);
  const Tensor<float, 3> coarse = resize_area(std::as_const(inside).view(), target);
  Tensor<float, 2> logits({side, side});
  for (Index y = 0; y < side; ++y) {
    for (Index x = 0; x < side; ++x) {
      const bool covered = y < target.height && x < target.width;
      logits.view()(y, x) = kSureLogit * (covered ? 2.0F * coarse.view()(y, x, 0) - 1.0F : -1.0F);
    }
  }
  return logits;
}

}  // namespace

Tensor<float, 2> read_mask_prompt(const std::filesystem::path& path, const FrameGeometry& geometry,
                                  Index side) {
  try {
    const MappedFile file(path);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    if (text.starts_with(kNumpyMagic)) return read_numpy(file.bytes(), side);
    return read_picture(path, geometry, side);
  } catch (const Error& error) {
    fail(error.code(), "mask prompt ", path.string(), ": ", error.what());
  }
}

}  // namespace promiseg::cli
