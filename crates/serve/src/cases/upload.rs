//! Files on their way from a client to the disk, a piece at a time.

use super::job::Job;
use super::names::plain;
use super::store::disk;
use super::unzip::{free, unzip};
use crate::config::Limits;
use crate::receive::{discard, unfinished};
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// Most files of one upload, ZIP files counted as one.
const FILES: usize = 4096;
/// How much larger an upload may be once it is unpacked.
const UNPACKED: u64 = 4;

/// Stores all files of a request: parts of a form, or the body itself, which is called `name`. ZIP files are unpacked.
pub(super) async fn receive(
    job: &Job,
    name: Option<&str>,
    request: Request,
    limits: &Limits,
) -> Result<(), Refusal> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > limits.upload) {
        discard(request.into_body(), limits.upload);
        return Err(Refusal::large(limits.upload));
    }
    let form = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let mut store = Stored { job, folder: job.input(), room: limits.upload, most: limits.upload, files: 0 };
    if form.starts_with("multipart/form-data") {
        store.form(request).await?;
    } else {
        let mut body: Body = request.into_body();
        let stored = store.whole(name.unwrap_or("upload"), &mut body).await;
        if stored.is_err() {
            discard(body, limits.upload);
        }
        stored?;
    }
    match job.files().is_empty() {
        true => Err(Refusal::bad("the upload holds no file")),
        false => Ok(()),
    }
}

/// Where the files of an upload go, and how much more may come.
struct Stored<'a> {
    job: &'a Job,
    folder: PathBuf,
    room: u64,
    /// The largest upload.
    most: u64,
    files: usize,
}

/// A file that arrives.
struct Arriving {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Stored<'_> {
    /// A body that is a file.
    async fn whole(&mut self, name: &str, body: &mut Body) -> Result<(), Refusal> {
        let mut file = self.begin(name).await?;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|e| unfinished(&e))?.into_data() {
                self.add(&mut file, data).await?;
            }
        }
        self.end(file).await
    }

    /// A body that is a form.
    async fn form(&mut self, request: Request) -> Result<(), Refusal> {
        let mut form =
            Multipart::from_request(request, &()).await.map_err(|e| Refusal::bad(e.body_text()))?;
        while let Some(mut field) = form.next_field().await.map_err(|e| broken(&e))? {
            // Parts without a name of a file are settings of some client; they mean nothing here.
            let Some(name) = field.file_name().map(str::to_owned) else { continue };
            let mut file = self.begin(&name).await?;
            while let Some(data) = field.chunk().await.map_err(|e| broken(&e))? {
                self.add(&mut file, data).await?;
            }
            self.end(file).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, name: &str) -> Result<Arriving, Refusal> {
        self.files += 1;
        if self.files > FILES {
            return Err(Refusal::bad(format!(
                "the upload has more than {FILES} files; pack them as one ZIP file"
            )));
        }
        let path = free(&self.folder, &plain(name));
        let file = File::create_new(&path).await.map_err(|e| disk(&e))?;
        Ok(Arriving { path, file, bytes: 0 })
    }

    async fn add(&mut self, to: &mut Arriving, data: Bytes) -> Result<(), Refusal> {
        let Some(room) = self.room.checked_sub(data.len() as u64) else {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the upload is larger than is taken"));
        };
        self.room = room;
        to.bytes += data.len() as u64;
        to.file.write_all(&data).await.map_err(|e| disk(&e))
    }

    async fn end(&mut self, mut arrived: Arriving) -> Result<(), Refusal> {
        arrived.file.flush().await.map_err(|e| disk(&e))?;
        let Arriving { path, bytes, .. } = arrived;
        if bytes == 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Refusal::bad(format!("{name} is empty")));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let most = self.most.saturating_mul(UNPACKED);
        let unpacked = tokio::task::spawn_blocking(move || unpack(&path, most)).await;
        let more = unpacked.map_err(|e| Refusal::fault(e.to_string()))??;
        self.job.received(&name, bytes + more);
        Ok(())
    }
}

/// Unpacks a ZIP file in its own place, as a folder of its name; gives the bytes that it unpacks to, 0 for other files.
fn unpack(path: &Path, most: u64) -> Result<u64, Refusal> {
    let mut head = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut f| std::io::Read::read(&mut f, &mut head));
    if read.map_err(|e| disk(&e))? < 4 || &head != b"PK\x03\x04" {
        return Ok(0);
    }
    let packed = path.with_file_name(".packed");
    std::fs::rename(path, &packed).map_err(|e| disk(&e))?;
    std::fs::create_dir(path).map_err(|e| disk(&e))?;
    let (files, bytes) = unzip(&packed, path, most)?;
    std::fs::remove_file(&packed).map_err(|e| disk(&e))?;
    match files {
        0 => Err(Refusal::bad("the ZIP file holds no files")),
        _ => Ok(bytes),
    }
}

/// A form that does not come as forms do.
fn broken(e: &axum::extract::multipart::MultipartError) -> Refusal {
    match unfinished(e) {
        r if r.status == StatusCode::REQUEST_TIMEOUT => r,
        _ => Refusal::bad(format!("the form cannot be read: {}", e.body_text())),
    }
}
