/// Few enough that a page of what one flow needs costs little, many enough that the list of pages does.
const PAGE: usize = 64;

/// Things by number, in pages that are made when the first of theirs is needed.
#[derive(Debug)]
pub(crate) struct Pages<T>(Vec<Option<Box<[T; PAGE]>>>);

impl<T: Default> Pages<T> {
    /// `most` numbers: the list of pages does not grow under traffic.
    pub(crate) fn new(most: usize) -> Pages<T> {
        Pages(Vec::with_capacity(most.div_ceil(PAGE)))
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.0.get(number as usize / PAGE)?.as_ref().map(|page| &page[number as usize % PAGE])
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.0.get_mut(number as usize / PAGE)?.as_mut().map(|page| &mut page[number as usize % PAGE])
    }

    /// A new one if there is none.
    pub(crate) fn make(&mut self, number: u32) -> Option<&mut T> {
        let page = number as usize / PAGE;
        if page >= self.0.len() {
            self.0.resize_with(page + 1, || None);
        }
        let page = self.0.get_mut(page)?;
        let page = page.get_or_insert_with(|| Box::new(std::array::from_fn(|_| T::default())));
        Some(&mut page[number as usize % PAGE])
    }
}
